"""Supervised actors on NATS that run WASM agents, measure them, and improve them while they serve."""

from subjects import Command, Event, Message, Reply, Request

from ._version import __version__
from .actor import Actor, handles
from .clock import Clock, SystemClock
from .context import Context
from .errors import ChimeraError
from .ref import Ref
from .supervision import Backoff, ChildSpec, Restart, Strategy, SupervisorSpec
from .system import System

__all__ = [
    "Actor",
    "Backoff",
    "ChildSpec",
    "ChimeraError",
    "Clock",
    "Command",
    "Context",
    "Event",
    "Message",
    "Ref",
    "Reply",
    "Request",
    "Restart",
    "Strategy",
    "SupervisorSpec",
    "System",
    "SystemClock",
    "__version__",
    "handles",
]
