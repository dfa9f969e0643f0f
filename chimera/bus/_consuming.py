"""Working through a durable consumer: declared, pulled, handed over, re-declared when it is lost."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from chimera.errors import ChimeraError, ConflictError, flatten

from ._api import Api
from ._pull import Pull, PullLost, Receipt, stored
from .contract import Claim, Delivery, Stored

if TYPE_CHECKING:
    from ._connection import Connection
    from ._hot import HotPath

_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_NS = 1_000_000_000
_log = logging.getLogger("chimera.bus")


class Taken:
    """A claim on a message of a durable consumer; a ``Claim``."""

    __slots__ = ("_hot", "_reply", "attempt", "message")

    def __init__(self, hot: HotPath, delivery: Delivery) -> None:
        receipt = Receipt(delivery.reply)
        self._hot, self._reply = hot, delivery.reply
        self.message: Stored = stored(delivery, receipt)
        self.attempt: int = receipt.delivered

    async def ack(self) -> None:
        """It is done; never deliver it again."""
        await self._hot.publish(self._reply, b"+ACK")

    async def retry(self, delay_s: float = 0.0) -> None:
        """Deliver it again after ``delay_s``."""
        body = b"-NAK " + msgspec.json.encode({"delay": int(delay_s * _NS)}) if delay_s > 0 else b"-NAK"
        await self._hot.publish(self._reply, body)

    async def working(self) -> None:
        """Still at it: restart the redelivery timer."""
        await self._hot.publish(self._reply, b"+WPI")


@dataclass
class Consuming:
    """One durable consumer and the handler that works through it."""

    api: Api
    hot: HotPath
    connection: Connection
    rng: random.Random
    stream: str
    durable: str
    handler: Callable[[list[Claim]], Awaitable[None]]
    subject: str
    batch: int
    ack_wait_s: float
    max_ack_pending: int

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            ConflictError: If JetStream refuses the consumer's settings: trying again would not help.
        """
        wait = _WAIT_S
        while True:
            try:
                await self._declare()
                wait = _WAIT_S
                await self._pull()
            except ConflictError:
                raise
            except (PullLost, ChimeraError) as error:
                _log.debug("consumer %s of %s: %s", self.durable, self.stream, flatten(error))
                await self.hot.clock.sleep(wait * self.rng.uniform(0.5, 1.0))
                wait = min(wait * 2, _LONGEST_WAIT_S)

    async def _declare(self) -> None:
        config: dict[str, Any] = {
            "name": self.durable, "durable_name": self.durable, "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait_s * _NS), "max_ack_pending": self.max_ack_pending, "max_deliver": -1,
        }  # fmt: skip
        if self.subject:
            config["filter_subject"] = self.subject
        body = {"stream_name": self.stream, "config": config, "action": ""}
        await self.api.call(f"CONSUMER.CREATE.{self.stream}.{self.durable}", body)

    async def _pull(self) -> None:
        async with Pull(self.hot, self.connection, self.stream, self.durable, self.batch) as pull:
            while True:
                deliveries = await pull.take()
                try:
                    await self.handler([Taken(self.hot, delivery) for delivery in deliveries])
                except Exception as error:  # noqa: BLE001 - it leaves its claims to redelivery
                    _log.warning("the handler of %s failed: %s", self.durable, flatten(error), exc_info=error)
