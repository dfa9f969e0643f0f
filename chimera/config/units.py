"""Sizes and durations as people write them: ``16Mi``, ``1h30m``; and back again without loss."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i|[kKMGT])?B?\Z", re.ASCII)
_SIZE_UNITS = {"Ti": 1 << 40, "Gi": 1 << 30, "Mi": 1 << 20, "Ki": 1 << 10}
_DECIMAL_UNITS = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_PART = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(ms|[smhdw])\s*", re.ASCII)
_DURATION_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_size(text: str) -> int:
    """Bytes from ``2Gi`` (1024), ``2G`` (1000), ``512Mi`` or a plain number of bytes.

    Raises:
        ValueError: If it is not a size, or not a whole number of bytes.
    """
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError("not a size")
    number, unit = match.groups()
    factor = 1 if unit is None else _SIZE_UNITS.get(unit) or _DECIMAL_UNITS[unit]
    if "." not in number:
        return int(number) * factor
    size = float(number) * factor
    if not size.is_integer():
        raise ValueError("not a whole number of bytes")
    return int(size)


def format_size(size: int) -> str:
    """The shortest exact form with a binary unit: 1536 -> ``1536``, 16777216 -> ``16Mi``."""
    for unit, factor in _SIZE_UNITS.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def parse_duration(text: str) -> float:
    """Seconds from ``250ms``, ``30s``, ``1h30m``, ``7d``, ``2w``; the parts add up.

    Raises:
        ValueError: If it is not a duration. A plain number is none: its unit would be a guess.
    """
    rest, seconds = text.strip(), 0.0
    if not rest:
        raise ValueError("not a duration")
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise ValueError("not a duration")
        seconds += float(match[1]) * _DURATION_UNITS[match[2]]
        rest = rest[match.end() :]
    return seconds


def format_duration(seconds: float) -> str:
    """An exact form with units: 5400 -> ``1h30m``, 0.25 -> ``250ms``."""
    milliseconds = seconds * 1000
    if seconds >= 1 and seconds == int(seconds):
        return _whole(int(seconds))
    if milliseconds == int(milliseconds) and int(milliseconds) * 0.001 == seconds:
        return f"{int(milliseconds)}ms"
    return f"{seconds!r}s"


def _whole(seconds: int) -> str:
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, int(_DURATION_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
