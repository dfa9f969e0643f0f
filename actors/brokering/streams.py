"""Where lending is written: one subject for each device, one each for rules and money, and the usage ledger."""

from __future__ import annotations

from chimera.bus.contract import StreamSpec
from subjects.lease import USED

DEVICES, DEVICE = "DEVICES", "chimera.device"
"""The stream of records, and the beginning of their subjects: ``chimera.device.<node>.<id>``."""

RULES = "chimera.lending.rules"
"""What the broker was told to do; in the stream of records, so that all instances follow it with them."""

MONEY = "chimera.lending.money"
"""Prices and budgets; likewise."""

USAGE = "USAGE"
"""The stream of ended intervals and of samples of what was lent."""

KEEP_USAGE_S = 400 * 86_400.0
"""A year and a month: a budget's longest period, and a season to forecast from."""

_WINDOW_S = 30.0


def device_spec(replicas: int = 1) -> StreamSpec:
    """The stream of records: the last of each device is the truth."""
    return StreamSpec(
        DEVICES, (f"{DEVICE}.>", RULES, MONEY), duplicate_window_s=_WINDOW_S, replicas=replicas, per_subject=1
    )  # fmt: skip


def usage_spec(replicas: int = 1, max_bytes: int = 1 << 30) -> StreamSpec:
    """The usage ledger."""
    return StreamSpec(
        USAGE, (f"{USED.rpartition('.')[0]}.>",), max_age_s=KEEP_USAGE_S, max_bytes=max_bytes, replicas=replicas
    )  # fmt: skip


def subject_of(key: str) -> str:
    """The subject of the record of the device ``<node>.<id>``."""
    return f"{DEVICE}.{key}"


def key_of(subject: str) -> str:
    """The device whose record stands on a subject."""
    return subject[len(DEVICE) + 1 :]
