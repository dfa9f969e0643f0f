"""Messages between nodes: the contract and its in-memory twin. ``chimera.bus.nats`` is imported where it is used."""

from ._memory_hub import Faults, MemoryHub, Passage
from .contract import (
    Appended,
    Bus,
    BusStatistics,
    Claim,
    Delivery,
    Handler,
    KeyEntry,
    KeyValue,
    Objects,
    State,
    StateListener,
    Stored,
    StreamHolding,
    StreamSpec,
    Subscription,
)
from .memory import MemoryBus

__all__ = [
    "Appended",
    "Bus",
    "BusStatistics",
    "Claim",
    "Delivery",
    "Faults",
    "Handler",
    "KeyEntry",
    "KeyValue",
    "MemoryBus",
    "MemoryHub",
    "Objects",
    "Passage",
    "State",
    "StateListener",
    "Stored",
    "StreamHolding",
    "StreamSpec",
    "Subscription",
]
