"""Numbers and times as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def number(value: float) -> str:
    """Three significant digits, without an exponent where a person would write none."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0 or 1e-3 <= abs(value) < 1e6:  # noqa: PLR2004 - what is readable without an exponent
        digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
        return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.1f} %"  # noqa: PLR2004 - two digits


def span(seconds: float) -> str:
    """A duration in its natural unit."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if abs(seconds) >= unit:
            count = seconds / unit
            return f"{count:.0f} {name}s" if round(count) != 1 else f"1 {name}"
    return f"{seconds:.0f} seconds"


def moment(at: float) -> str:
    """A Unix time, UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
