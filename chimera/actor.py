"""What a user writes: an ``Actor`` class whose ``@handles`` methods take messages by their type."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from subjects import Message, is_token, operation_of

if TYPE_CHECKING:
    from .context import Context
    from .ref import Ref

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__chimera_handles__"
_replies: dict[type[Message], Any] = {}


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """One handler: which message type it takes, under which verb it is asked from outside, and how it runs.

    ``privileged`` = a declared operation that changes something and runs nothing for a user: those are audited.
    """

    message: type[Message]
    verb: str
    method: str
    interleave: bool
    streams: bool
    privileged: bool = False


@overload
def handles(method: F, /) -> F: ...
@overload
def handles(*, interleave: bool = False) -> Callable[[F], F]: ...
def handles(method: Any = None, /, *, interleave: bool = False) -> Any:
    """Mark a method as the handler of its argument's message type.

    A plain ``async def`` answers once; an async generator streams its answers.

    Args:
        method: The method, when used without brackets.
        interleave: Run beside the current turn: for handlers that only read.
    """

    def mark(function: Any) -> Any:
        setattr(function, _MARK, interleave)
        return function

    return mark(method) if method is not None else mark


class Actor:
    """State with a mailbox: one message at a time, restarted by its supervisor when a handler fails.

    Life of an actor:

    1. ``__init__`` runs with the arguments of its child specification.
    2. ``on_start`` runs; messages wait in the mailbox meanwhile.
    3. Each message is one turn of the handler for its type. The answer of the handler answers the ask.
    4. A handler that raises a ``ChimeraError`` answers with it; the actor goes on. Anything else is a crash: the ask is
       answered ``Crashed``, and the supervisor decides. A restart makes a new instance behind the same mailbox and
       address.
    5. ``on_stop`` runs when it is stopped, in reverse order of start.

    Class options, given as ``class Counter(Actor, mailbox=256)``:

    Attributes:
        actor_name: Subject root, by default the class name in snake_case.
        mailbox: Messages that may wait; one more is answered ``Overloaded``. 128 by default.
        concurrency: Turns at once; more than 1 only for stateless actors.
        layer: Layer that its lines of the event log belong to.
    """

    actor_name: ClassVar[str] = "actor"
    mailbox: ClassVar[int] = 128
    concurrency: ClassVar[int] = 1
    layer: ClassVar[str] = "node"
    handlers: ClassVar[dict[type[Message], HandlerSpec]] = {}
    verbs: ClassVar[dict[str, HandlerSpec]] = {}

    __slots__ = ("__dict__", "ctx")
    ctx: Context

    def __init_subclass__(
        cls,
        *,
        name: str = "",
        mailbox: int | None = None,
        concurrency: int | None = None,
        layer: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.actor_name = name or snake_case(cls.__name__)
        cls.mailbox = cls.mailbox if mailbox is None else mailbox
        cls.concurrency = cls.concurrency if concurrency is None else concurrency
        cls.layer = layer or cls.layer
        if not is_token(cls.actor_name) or cls.mailbox < 1 or cls.concurrency < 1:
            raise TypeError(f"{cls.__qualname__}: its name must be a subject token, mailbox and concurrency at least 1")
        cls.handlers = dict(_find_handlers(cls))
        cls.verbs = {spec.verb: spec for spec in cls.handlers.values()}
        if len(cls.verbs) < len(cls.handlers):
            raise TypeError(f"{cls.__qualname__}: two of its messages have the same verb: {sorted(cls.verbs)}")

    async def on_start(self) -> None:
        """Prepare; messages wait meanwhile. Raising counts as a crash."""

    async def on_stop(self, reason: str) -> None:
        """Tidy up; bounded by the child specification's shutdown time."""

    async def on_down(self, ref: Ref, reason: str) -> None:
        """A watched actor ended, or its node did."""


def reply_type(kind: type[Message]) -> Any:
    """What messages of this type are answered with, ``Any`` if nothing says so."""
    found = _replies.get(kind)
    if found is None:
        operation = operation_of(kind)
        found = _replies[kind] = operation.reply if operation else _declared_reply(kind)
    return found


def _declared_reply(kind: type[Message]) -> Any:
    for base in getattr(kind, "__orig_bases__", ()):
        arguments = get_args(base)
        if arguments:
            return arguments[0]
    return Any


def snake_case(name: str) -> str:
    """``GpuBroker`` -> ``gpu_broker``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _find_handlers(cls: type[Actor]) -> list[tuple[type[Message], HandlerSpec]]:
    found: dict[type[Message], HandlerSpec] = {}
    for base in reversed(cls.__mro__):
        own: set[type[Message]] = set()
        for attribute, function in vars(base).items():
            interleave = getattr(function, _MARK, None)
            if interleave is None:
                continue
            for message in _message_types(function):
                declared = operation_of(message)
                verb = declared.verb if declared else snake_case(message.__name__)
                streams = inspect.isasyncgenfunction(function)
                if message in own or not (streams or inspect.iscoroutinefunction(function)):
                    raise TypeError(f"{function.__qualname__}: one async handler for each type of message")
                own.add(message)
                privileged = declared is not None and not (declared.safe or declared.open)
                found[message] = HandlerSpec(message, verb, attribute, interleave, streams, privileged)
    return list(found.items())


def _message_types(function: Any) -> list[type[Message]]:
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 2:  # noqa: PLR2004 - self and the message
        raise TypeError(f"{function.__qualname__} must take self and one message")
    hint = get_type_hints(function).get(parameters[1])
    kinds = get_args(hint) if get_origin(hint) in {types.UnionType, Union} else (hint,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Message)):
            raise TypeError(f"{function.__qualname__}: annotate its message with a subclass of subjects.Message")
    return list(kinds)  # pyright: ignore[reportReturnType] - checked above
