"""A sandbox and a store in memory, for tests of the agent actor: same contracts, no processes, no files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import anyio
import anyio.lowlevel
import msgspec

from chimera.errors import BadGenomeError, BadModuleError, UnavailableError
from chimera.sandbox.contract import GuestFailure, GuestResult, GuestSpec, ModuleInfo, SandboxStatistics, Swept
from chimera.sandbox.sweep import Wish, collect
from subjects.agent import AgentView
from subjects.event import TaskProcessed

MODULE = b"\0asm one"
Batch = tuple[str, str, int, float | None]
"""Digest, task, number of payloads, and timeout of one ``run``."""


def module(version: str) -> bytes:
    """A module that the fake sandbox accepts; unlike versions are unlike modules."""
    return b"\0asm " + version.encode()


@dataclass(slots=True)
class FakeGuest:
    """Answers ``{"says": input, "digest": ..., "genome": [...]}``; an input ``{"do": KIND}`` fails as that kind."""

    spec: GuestSpec
    info: ModuleInfo
    box: FakeSandbox
    closed: bool = False
    running: int = 0

    def ready(self) -> bool:
        """True if a worker is free."""
        return self.box.busy < self.box.workers

    async def wait_ready(self) -> None:
        """Wait for a worker."""
        while not self.ready():
            await self.box.freed.wait()

    async def run(
        self, task: str, payloads: Sequence[bytes], *, timeout_s: float | None = None
    ) -> list[GuestResult | GuestFailure]:
        """Answer each, on one of the workers, once the gate is open."""
        assert not self.closed, "a task reached a guest that was unloaded"
        self.running += 1
        self.box.batches.append((self.spec.digest, task, len(payloads), timeout_s))
        try:
            if self.spec.agent in self.box.held:
                await self.box.held[self.spec.agent].wait()
            await self.wait_ready()
            self.box.busy += 1
            try:
                await self.box.gate.wait()
                await anyio.lowlevel.checkpoint()
                return [self._answer(payload) for payload in payloads]
            finally:
                self.box.free()
        finally:
            self.running -= 1

    async def close(self) -> None:
        """Unload; nothing may be running."""
        assert not self.running, "a guest was unloaded under its tasks"
        self.closed = True

    def _answer(self, payload: bytes) -> GuestResult | GuestFailure:
        self.box.payloads.append(payload)
        says = msgspec.json.decode(payload)
        if says.get("do") == "list":
            return GuestResult(b"[1]", 0.001, 0.001, 65536)
        if "do" in says:
            return GuestFailure(says["do"], "as asked", run_s=0.001)
        answer = {
            "says": says,
            "digest": self.spec.digest,
            "genome": list(self.spec.genome),
            "label": says.get("label"),
        }
        outbox = tuple((subject, b"hello") for subject in says.get("emit", []))
        return GuestResult(
            msgspec.json.encode(answer), 0.001, 0.001, 65536, log=tuple(says.get("log", [])), outbox=outbox
        )


@dataclass(slots=True)
class FakeSandbox:
    """Accepts modules that begin with the magic, and any genome without a 13.

    ``gate`` holds all tasks back, ``held`` those of one agent.
    """

    workers: int = 2
    busy: int = 0
    checked: dict[str, ModuleInfo] = field(default_factory=dict[str, ModuleInfo])
    guests: list[FakeGuest] = field(default_factory=list[FakeGuest])
    batches: list[tuple[str, str, int, float | None]] = field(
        default_factory=list[tuple[str, str, int, "float | None"]]
    )
    payloads: list[bytes] = field(default_factory=list[bytes])
    held: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    gate: anyio.Event = field(default_factory=anyio.Event)
    freed: anyio.Event = field(default_factory=anyio.Event)
    guest: ClassVar[type[FakeGuest]] = FakeGuest

    def __post_init__(self) -> None:
        self.gate.set()

    async def __aenter__(self) -> Self:
        """Nothing to start."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to end."""

    def free(self) -> None:
        """A worker is free again."""
        self.busy -= 1
        self.freed.set()
        self.freed = anyio.Event()

    async def check(self, module: bytes, grants: Sequence[str] = ()) -> ModuleInfo:  # noqa: ARG002 - the contract's
        """Any bytes with the magic are a module with two tasks."""
        await anyio.lowlevel.checkpoint()
        if not module.startswith(b"\0asm"):
            raise BadModuleError("bad magic")
        digest = hashlib.sha256(module).hexdigest()
        self.checked[digest] = ModuleInfo(digest, len(module), ("predict", "explain"), True, (), 0.0)
        return self.checked[digest]

    async def load(self, spec: GuestSpec) -> FakeGuest:
        """A guest of a checked module."""
        await anyio.lowlevel.checkpoint()
        if spec.digest not in self.checked:
            raise BadModuleError("never checked")
        if 13.0 in spec.genome:
            raise BadGenomeError("13 is unlucky")
        guest = self.guest(spec, self.checked[spec.digest], self)
        self.guests.append(guest)
        return guest

    async def sweep(
        self, spec: GuestSpec, task: str, payloads: Sequence[bytes], fields: Sequence[str], *,
        timeout_s: float | None = None, give_up: int = 0,
    ) -> Swept:  # fmt: skip
        """Load, run, unload; the columns of the answers."""
        guest = await self.load(replace(spec, agent=f"{spec.agent}~trial"))
        try:
            outcomes = await guest.run(task, payloads, timeout_s=timeout_s)
        finally:
            await guest.close()
        return collect(outcomes, Wish(tuple(fields), give_up))

    def open_guests(self) -> list[FakeGuest]:
        """Guests that are loaded."""
        return [guest for guest in self.guests if not guest.closed]

    def statistics(self) -> SandboxStatistics:
        """What is known."""
        return SandboxStatistics(self.workers, self.workers - self.busy, 0, len(self.open_guests()), 0, 0, 0, 0)


class FakeStore:
    """The parts of a store that the agent actor uses; ``broken`` makes every write fail."""

    def __init__(self) -> None:
        self.views: dict[str, AgentView] = {}
        self.settings: dict[str, Any] = {}
        self.past: dict[str, TaskProcessed] = {}
        self.broken = False

    def _write(self) -> None:
        if self.broken:
            raise UnavailableError("the disk is full")

    async def save_agent(self, view: AgentView) -> None:
        """Keep the view."""
        self._write()
        self.views[view.name] = view

    async def setting(self, name: str) -> Any:
        """A setting."""
        return self.settings.get(name)

    async def set_setting(self, name: str, value: Any) -> None:
        """Keep a setting."""
        self._write()
        self.settings[name] = value

    async def outcome(self, job_id: str) -> TaskProcessed | None:
        """An old outcome."""
        return self.past.get(job_id)

    async def check(self) -> str:
        """Whether writing works."""
        self._write()
        return "ok"
