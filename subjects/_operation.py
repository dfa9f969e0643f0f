"""One declaration per operation: from it come the NATS endpoint, the HTTP route, both documents and the CLI."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, Literal, TypeVar

from ._message import Event, Message, Request

PREFIX = "chimera"
"""First token of every subject."""

M = TypeVar("M", bound=Message)
R = TypeVar("R")

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Port(IntEnum):
    """The bridge's ports by role, with their default numbers."""

    AGENT = 8000
    SCHEDULER = 8001
    REFINEMENT = 8002
    EVOLUTION = 8003
    RESOURCES = 8004


@dataclass(frozen=True, slots=True)
class Http:
    """One HTTP face of an operation.

    ``{name}`` parts of the path and, for GET and DELETE, the query string fill the request's fields of the same
    name. ``status`` is sent on success.
    """

    method: Method
    path: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Operation(Generic[M, R]):
    """A request that an actor answers, on every face at once.

    Attributes:
        actor: The service that answers, also the second token of the subject.
        verb: The last token of the subject.
        request: Type of the body.
        reply: Type of the answer.
        port: Port of the bridge that carries the HTTP faces.
        summary: One line for the documents and the CLI.
        http: The HTTP faces.
        safe: True if it changes nothing. Unsafe operations need the bearer token where one is required.
        open: True if it runs a task for a user (``predict``, ``feedback``): the ``client`` role may call it
            although it is not safe.
        timeout_s: How long a caller waits who does not say, in seconds.
        errors: Codes of the closed error list that it can answer besides the general ones.
        example: A valid body, shown in the documents and used by the contract tests.
        streams: True if it answers with many ``reply``: many messages and an empty one at the end on NATS,
            server-sent events on HTTP. ``timeout_s`` then bounds the whole stream.
    """

    actor: str
    verb: str
    request: type[M]
    reply: type[R]
    port: Port
    summary: str
    http: tuple[Http, ...] = ()
    safe: bool = False
    open: bool = False
    timeout_s: float = 5.0
    errors: tuple[str, ...] = ()
    example: dict[str, Any] = field(default_factory=dict[str, Any])
    streams: bool = False

    @property
    def subject(self) -> str:
        """The subject any instance of the actor answers on."""
        return f"{PREFIX}.{self.actor}.{self.verb}"

    @property
    def name(self) -> str:
        """``actor.verb``, what ``chimera call`` takes."""
        return f"{self.actor}.{self.verb}"


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of fact: its type and the subject it is published on. ``*`` in ``subject`` stands for a key."""

    event: type[Event]
    subject: str
    summary: str


def request_of(operation: Operation[Any, Any]) -> type[Request[Any]]:
    """The request type of an operation, as the type the actor core knows."""
    return operation.request
