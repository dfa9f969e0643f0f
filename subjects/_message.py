"""What travels: requests that expect a reply, commands that do not, and events that state a fact."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

R_co = TypeVar("R_co", covariant=True)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything that crosses a process boundary. Unknown fields are refused; bounds stand in the types."""


class Request(Message, Generic[R_co], frozen=True, forbid_unknown_fields=True):
    """A message that is answered with one ``R_co``, or, from a streaming handler, with many."""


class Command(Message, frozen=True, forbid_unknown_fields=True):
    """A message that is not answered."""


class Event(Message, frozen=True, forbid_unknown_fields=False):
    """A fact, named in the past tense. Readers ignore fields they do not know, so that facts can grow."""


class Reply(Message, frozen=True, forbid_unknown_fields=False):
    """What answers a request. Callers ignore fields they do not know."""
