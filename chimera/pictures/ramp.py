"""Numbers as colours: dark is low, light is high, also for who sees no colour. Pure."""

from __future__ import annotations

import math

_STOPS = ((70, 51, 126), (54, 92, 141), (39, 127, 142), (31, 161, 135), (74, 193, 109), (160, 218, 57))
"""Equal steps of lightness (the middle of viridis, by van der Walt and Smith)."""

NONE = "#8888"
"""What has no number."""


def colour_of(value: float | None, low: float, high: float) -> str:
    """The colour of a value between two ends; what is outside gets the nearer end's."""
    if value is None or not math.isfinite(value):
        return NONE
    share = 0.5 if high / 2 <= low / 2 else min(1.0, max(0.0, (value / 2 - low / 2) / (high / 2 - low / 2)))
    place = share * (len(_STOPS) - 1)
    index = min(int(place), len(_STOPS) - 2)
    rest = place - index
    mixed = (round(a + (b - a) * rest) for a, b in zip(_STOPS[index], _STOPS[index + 1], strict=True))
    return "#" + "".join(f"{one:02x}" for one in mixed)
