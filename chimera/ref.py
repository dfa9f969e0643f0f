"""The address of an actor: a value that can be stored and sent, and the verbs ``ask``, ``tell`` and ``stream``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from subjects import PREFIX, Message, Request
from subjects.control import node_subject

if TYPE_CHECKING:
    from .system import System

R = TypeVar("R")


class Ref:
    """``agent`` (any instance), ``counter/hits`` (one keyed instance) or ``counter/hits@node-1`` (on that node).

    A target on this node gets the message straight into its mailbox; any other gets it over the bus. Errors and
    deadlines are the same either way.
    """

    __slots__ = ("actor", "key", "node", "system")

    def __init__(self, system: System, actor: str, key: str = "", node: str = "") -> None:
        self.system = system
        self.actor = actor
        self.key = key
        self.node = node

    @property
    def subject(self) -> str:
        """Subject prefix that the target listens under, without the verb."""
        return subject_prefix(self.actor, self.key, self.node)

    def ask(
        self, message: Request[R], *, timeout_s: float | None = None, leave: Callable[[], bool] | None = None
    ) -> Coroutine[Any, Any, R]:
        """Send and wait for the answer.

        Inside a handler the wait is bounded by the turn's own deadline as well, and the target knows who waits. A
        caller that is cancelled cancels the work too, unless ``leave`` says that it may go on.

        Raises:
            NotRunningError: Nobody is there; known at once, nothing was executed.
            OverloadedError: The mailbox is full; ``retry_after_s`` says when to come again.
            DeadlineError: Time is over; ``data["stage"]`` says where the message was.
            CycleError: The target waits for the asker.
            CrashedError: The handler failed; its supervisor deals with the actor.
            ChimeraError: Whatever else of the closed list the handler answered.
        """
        return self.system.ask_ref(self, message, timeout_s, leave=leave)

    async def tell(self, message: Message) -> None:
        """Send without an answer: at most once.

        Raises:
            NotRunningError: A local target is not there.
            OverloadedError: A local target's mailbox is full.
        """
        await self.system.tell_ref(self, message)

    def stream(self, message: Request[R], *, timeout_s: float | None = None) -> AsyncIterator[R]:
        """Send and iterate over a streamed answer; closing the iterator cancels the handler."""
        return self.system.stream_ref(self, message, timeout_s)

    def __str__(self) -> str:
        return address_of(self.actor, self.key, self.node)

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def address_of(actor: str, key: str = "", node: str = "") -> str:
    """``actor[/key][@node]``."""
    name = f"{actor}/{key}" if key else actor
    return f"{name}@{node}" if node else name


def subject_prefix(actor: str, key: str = "", node: str = "") -> str:
    """What the subjects of an address begin with, without the verb."""
    if node:
        return f"{node_subject(node)}.{actor}.{key or '-'}"
    return f"{PREFIX}.{actor}.{key}" if key else f"{PREFIX}.{actor}"


def parse_address(text: str) -> tuple[str, str, str]:
    """``actor[/key][@node]`` as (actor, key, node)."""
    path, _, node = text.partition("@")
    actor, _, key = path.partition("/")
    return actor, key, node
