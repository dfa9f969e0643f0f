"""The least level that is logged, for all loggers at once; may be changed while a node runs."""

from __future__ import annotations

import logging

from .line import LEVELS, Level

OURS = ("chimera", "actors", "edge")
FOREIGN = ("nats", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "wasmtime", "concurrent.futures")


def set_level(level: Level) -> None:
    """Log our own lines from ``level`` on; foreign libraries from warnings on (with ``debug``: info)."""
    for name in OURS:
        logging.getLogger(name).setLevel(LEVELS[level])
    foreign = logging.INFO if level == "debug" else max(LEVELS[level], logging.WARNING)
    for name in FOREIGN:
        logging.getLogger(name).setLevel(foreign)


def current_level() -> Level:
    """The level in force for our own lines."""
    number = logging.getLogger(OURS[0]).getEffectiveLevel()
    met: list[Level] = [name for name, least in LEVELS.items() if least <= number]
    return met[-1] if met else "debug"
