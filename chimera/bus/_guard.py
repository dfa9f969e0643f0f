"""A handler can't end its own subscription."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chimera.errors import flatten

from .contract import Delivery, Handler

_log = logging.getLogger("chimera.bus")


def guarded(handler: Handler, failed: Callable[[BaseException], None]) -> Callable[[Any], Any]:
    """``handler`` as the coroutine function that nats-py wants, unable to end its subscription.

    The library stops a subscription for good, and says nothing, when its callback raises ``CancelledError``.
    """

    async def deliver(delivery: Delivery) -> None:
        hand(handler, delivery, failed)

    return deliver


def hand(handler: Handler, delivery: Delivery, failed: Callable[[BaseException], None]) -> None:
    """Call ``handler``; whatever it raises goes to ``failed``, except what ends the program."""
    try:
        handler(delivery)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - CancelledError above all
        failed(error)


def log_failure(error: BaseException) -> None:
    """A handler or the connection failed; it is counted elsewhere."""
    _log.warning("bus: %s", flatten(error), exc_info=error if error.__traceback__ else None)
