"""An actor that does what a test tells it, and a board on which it notes what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio

from chimera import Actor, Command, Ref, Request, handles
from chimera.errors import ConflictError


class Echo(Request[str], frozen=True):
    """Say it back."""

    text: str = "hello"


class Free(Request[dict[str, Any]], frozen=True):
    """Give the free-form field back."""

    value: dict[str, Any]


class Fail(Request[str], frozen=True):
    """End badly: ``refuse`` answers a ChimeraError, ``crash`` raises, ``odd`` answers what can't be encoded."""

    how: str


class Hold(Request[str], frozen=True):
    """Wait for the gate."""

    name: str = "held"


class Look(Request[int], frozen=True):
    """How many turns have begun; beside the others."""


class Note(Command, frozen=True):
    """Write it down; nobody waits for an answer."""

    text: str


class Count(Request[int], frozen=True):
    """Stream 0 to ``upto`` - 1; fail after ``fail_at`` elements."""

    upto: int
    fail_at: int = -1


class Relay(Request[str], frozen=True):
    """Ask the first address on the way to relay to the rest; the last echoes."""

    way: list[str]


class Watch(Command, frozen=True):
    """Watch that address."""

    actor: str
    node: str = ""


class Fill(Request[bytes], frozen=True):
    """Answer with so many bytes."""

    size: int


@dataclass
class Board:
    """What happened, in order, and the gate that holds ``Hold`` back."""

    log: list[str] = field(default_factory=list[str])
    gate: anyio.Event = field(default_factory=anyio.Event)
    downs: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    sent: int = 0
    born: int = 0
    bell: anyio.Event = field(default_factory=anyio.Event)

    def note(self, text: str) -> None:
        """Write a line."""
        self.log.append(text)
        self.bell.set()

    async def until(self, text: str) -> None:
        """Wait until that line is on the board."""
        with anyio.fail_after(20):
            while text not in self.log:
                self.bell = anyio.Event()
                await self.bell.wait()


class Probe(Actor, mailbox=4):
    """Does what it is told."""

    def __init__(self, board: Board) -> None:
        self.board = board
        board.born += 1

    async def on_stop(self, reason: str) -> None:
        """Note it."""
        self.board.note(f"stop {reason}")

    async def on_down(self, ref: Ref, reason: str) -> None:
        """Note it."""
        self.board.downs.append((str(ref), reason))
        self.board.note(f"down {ref} {reason}")

    @handles
    async def echo(self, message: Echo) -> str:
        """Say it back."""
        self.board.note(f"echo {message.text}")
        return message.text

    @handles
    async def free(self, message: Free) -> dict[str, Any]:
        """Give it back."""
        return message.value

    @handles
    async def fail(self, message: Fail) -> str:
        """End badly."""
        if message.how == "refuse":
            raise ConflictError("not now", hint="come later", data={"why": "test"})
        if message.how == "odd":
            return object()  # pyright: ignore[reportReturnType] - that is the fault under test
        raise ValueError(message.how)

    @handles
    async def hold(self, message: Hold) -> str:
        """Wait for the gate."""
        self.board.note(f"begin {message.name}")
        try:
            await self.board.gate.wait()
        except BaseException:
            self.board.note(f"cancelled {message.name}")
            raise
        self.board.note(f"end {message.name}")
        return message.name

    @handles(interleave=True)
    async def look(self, message: Look) -> int:
        """Beside the others."""
        del message
        return sum(line.startswith("begin") for line in self.board.log)

    @handles
    async def note(self, message: Note) -> None:
        """Write it down."""
        self.board.note(message.text)

    @handles
    async def count(self, message: Count) -> AsyncIterator[int]:
        """Stream."""
        try:
            for number in range(message.upto):
                if number == message.fail_at:
                    raise ConflictError(f"no more after {number}")
                self.board.sent += 1
                yield number
        finally:
            self.board.note("stream over")

    @handles
    async def relay(self, message: Relay) -> str:
        """Hand on."""
        if not message.way:
            return self.ctx.node
        first, *rest = message.way
        return await self.ctx.ref(*first.split("/")[:1], key=first.partition("/")[2]).ask(Relay(way=rest))

    @handles
    async def watch(self, message: Watch) -> None:
        """Begin to watch."""
        await self.ctx.watch(self.ctx.ref(message.actor, node=message.node))
        self.board.note("watching")

    @handles
    async def fill(self, message: Fill) -> bytes:
        """So many bytes."""
        return bytes(message.size)


class Other(Probe):
    """A second one under another name."""


class Breaker(Probe):
    """Breaks when the gate opens."""

    @handles
    async def hold(self, message: Hold) -> str:  # noqa: ARG002 - the contract's
        """Wait and fail."""
        await self.board.gate.wait()
        raise ValueError("broken")
