"""The contract of Chimera: message types, operations, events. Needs the standard library and msgspec only."""

from ._message import Command, Event, Message, Reply, Request
from ._operation import PREFIX, EventType, Http, Operation, Port
from ._registry import EVENTS, OPERATIONS, find_operation, operation_of
from ._types import MAX_BODY_BYTES, MAX_DEPTH, is_token

__all__ = [
    "EVENTS",
    "MAX_BODY_BYTES",
    "MAX_DEPTH",
    "OPERATIONS",
    "PREFIX",
    "Command",
    "Event",
    "EventType",
    "Http",
    "Message",
    "Operation",
    "Port",
    "Reply",
    "Request",
    "find_operation",
    "is_token",
    "operation_of",
]
