"""A handler can't end the connection it gets its messages from."""

from __future__ import annotations

import logging
from collections.abc import Callable

from chimera.errors import flatten

from .contract import Delivery, Handler

_log = logging.getLogger("chimera.bus")


def guarded(handler: Handler, failed: Callable[[BaseException], None]) -> Handler:
    """``handler``, unable to end the read loop that calls it: what it raises, above all ``CancelledError``, is told."""

    def deliver(delivery: Delivery) -> None:
        try:
            handler(delivery)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - CancelledError above all
            failed(error)

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
