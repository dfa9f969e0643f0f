"""All operations and events there are, and how to find one."""

from __future__ import annotations

from typing import Any

from . import (
    agent,
    autonomous,
    capacity,
    cost,
    device,
    event,
    evolution,
    evolver,
    experiment,
    genome,
    gpu_broker,
    gpu_node,
    insight,
    lease,
    node,
    optimizer,
    report,
    scheduler,
    trial,
)
from ._message import Message
from ._operation import EventType, Operation

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *agent.OPERATIONS, *trial.OPERATIONS, *node.OPERATIONS, *scheduler.OPERATIONS,
    *optimizer.OPERATIONS, *experiment.OPERATIONS, *insight.OPERATIONS, *report.OPERATIONS,
    *evolver.OPERATIONS, *evolution.OPERATIONS, *genome.OPERATIONS, *autonomous.OPERATIONS,
    *gpu_broker.OPERATIONS, *device.OPERATIONS, *lease.OPERATIONS, *cost.OPERATIONS, *capacity.OPERATIONS,
    *gpu_node.OPERATIONS,
)  # fmt: skip
EVENTS: tuple[EventType, ...] = (
    *event.EVENTS, *experiment.EVENTS, *optimizer.EVENTS, *evolution.EVENTS, *autonomous.EVENTS, *device.EVENTS,
    *lease.EVENTS,
)  # fmt: skip

_by_name = {operation.name: operation for operation in OPERATIONS}
_by_request: dict[type[Message], Operation[Any, Any]] = {operation.request: operation for operation in OPERATIONS}


def find_operation(name: str) -> Operation[Any, Any] | None:
    """The operation called ``actor.verb`` (or by its whole subject), if there is one."""
    return _by_name.get(name.removeprefix("chimera."))


def operation_of(request: type[Message]) -> Operation[Any, Any] | None:
    """The operation that takes this request type, if one is declared."""
    return _by_request.get(request)
