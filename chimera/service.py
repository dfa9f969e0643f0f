"""Every actor that takes requests is a NATS micro service (ADR-32): ``nats micro ls|info|stats`` shows the system."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from subjects import PREFIX, find_operation

from ._version import __version__
from .bus.contract import Bus, Delivery, Subscription
from .cell import Cell, VerbStatistics
from .errors import ChimeraError
from .wire import encode

if TYPE_CHECKING:
    from .system import System

_TYPES = {"PING": "ping_response", "INFO": "info_response", "STATS": "stats_response"}


class ServiceDirectory:
    """Answers ``$SRV.PING``, ``$SRV.INFO`` and ``$SRV.STATS`` for the service actors of one node."""

    def __init__(self, system: System, bus: Bus) -> None:
        self._system = system
        self._bus = bus
        self._instance = f"{system.rng.getrandbits(48):012x}"
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Listen."""
        for verb in _TYPES:
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.>"):
                self._subscriptions.append(await self._bus.subscribe(subject, self._take))

    async def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    def _take(self, delivery: Delivery) -> None:
        _, verb, *address = delivery.subject.split(".")
        answers = [
            encode(self._answer(cell, verb), "json")
            for cell in self._system.cells.values()
            if not cell.key and _addressed(address, _name(cell), self._id(cell))
        ]
        if answers and delivery.reply:
            self._system.start_soon(self._send, delivery.reply, answers)

    async def _send(self, reply: str, answers: list[bytes]) -> None:
        try:
            for answer in answers:
                await self._bus.publish(reply, answer)
        except ChimeraError:
            return  # whoever asked will ask again

    def _answer(self, cell: Cell, verb: str) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "type": f"io.nats.micro.v1.{_TYPES[verb]}",
            "name": _name(cell),
            "id": self._id(cell),
            "version": __version__,
            "metadata": {"node": self._system.node, "address": cell.address},
        }
        if verb == "INFO":
            answer["description"] = (cell.kind.__doc__ or "").strip().partition("\n")[0]
            answer["endpoints"] = [_endpoint(cell, name) for name in sorted(cell.kind.verbs)]
        if verb == "STATS":
            answer["started"] = datetime.fromtimestamp(self._system.started_at, UTC).isoformat()
            answer["endpoints"] = [_endpoint(cell, name) | _figures(cell, name) for name in sorted(cell.kind.verbs)]
        return answer

    def _id(self, cell: Cell) -> str:
        return f"{self._instance}-{_name(cell)}"


def _addressed(address: list[str], name: str, instance: str) -> bool:
    return not address or (address[0] == name and (len(address) == 1 or address[1] == instance))


def _name(cell: Cell) -> str:
    return cell.kind.actor_name.replace("_", "-")


def _endpoint(cell: Cell, verb: str) -> dict[str, Any]:
    actor = cell.kind.actor_name
    operation = find_operation(f"{actor}.{verb}")
    spec = cell.kind.verbs[verb]
    return {
        "name": verb,
        "subject": f"{PREFIX}.{actor}.{verb}",
        "queue_group": actor,
        "metadata": {"request": spec.message.__name__, "summary": operation.summary if operation else ""},
    }


def _figures(cell: Cell, verb: str) -> dict[str, Any]:
    figures = cell.verbs.get(verb, VerbStatistics())
    busy_ns = int(figures.busy_s * 1e9)
    mailbox = cell.statistics()
    return {
        "num_requests": figures.requests,
        "num_errors": figures.errors,
        "last_error": figures.last_error,
        "processing_time": busy_ns,
        "average_processing_time": busy_ns // figures.requests if figures.requests else 0,
        "data": {"waiting": mailbox.waiting, "capacity": mailbox.capacity, "restarts": mailbox.restarts},
    }
