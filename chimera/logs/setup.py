"""Logging for a node: a form for people or machines on standard error, and JSON lines in the data folder."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO, cast

from chimera.config import Settings

from .background import BackgroundHandler, LogStatistics, StreamSink
from .console import console_line, wants_colour
from .files import EventFiles, logs_dir
from .level import FOREIGN, OURS, set_level
from .line import Level, LogLine, encode_line

_ACCESS = "uvicorn.access"
"""Left out: the bridge states its own ``access-log``."""


class Logging:
    """What ``setup_logging`` set up. Close it, or use it as a context manager: then nothing of it stays behind."""

    def __init__(self, handlers: Mapping[str, BackgroundHandler], level: Level) -> None:
        self._handlers = dict(handlers)
        self._before = {name: logging.getLogger(name).level for name in (*OURS, *FOREIGN)}
        for handler in self._handlers.values():
            logging.getLogger().addHandler(handler)
        logging.getLogger(_ACCESS).propagate = False
        self.set_level(level)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_level(self, level: Level) -> None:
        """Log our own lines from ``level`` on; foreign libraries from warnings on (with ``debug``: info)."""
        set_level(level)

    def statistics(self) -> dict[str, LogStatistics]:
        """Counters by destination: ``stream`` and ``files``."""
        return {name: handler.statistics() for name, handler in self._handlers.items()}

    def flush(self) -> None:
        """Wait until what was logged so far is written, so that something else may be printed below it."""
        for handler in self._handlers.values():
            handler.flush()

    def close(self) -> None:
        """Write what waits, take the handlers away, set the levels back. Safe to call twice."""
        for handler in self._handlers.values():
            logging.getLogger().removeHandler(handler)
            handler.close()
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger(_ACCESS).propagate = True


def setup_logging(
    settings: Settings, *, stream: TextIO | None = None, env: Mapping[str, str] = os.environ, files: bool = True
) -> Logging:
    """Log to ``stream`` (standard error) in the form of ``log.format``, and to the data folder.

    Args:
        settings: ``log``, ``node.name`` and ``node.data_dir`` are used.
        stream: Where people look.
        env: For ``NO_COLOR`` and ``TERM``.
        files: False for commands that leave no trace in the data folder.
    """
    target = stream or sys.stderr
    console = settings.log.format == "console" or (settings.log.format == "auto" and _is_terminal(target))
    colour = console and wants_colour(target, env)

    def render(line: LogLine) -> bytes:
        return f"{console_line(line, colour=colour)}\n".encode("utf-8", "backslashreplace")

    node = settings.node.name
    handlers = {"stream": BackgroundHandler(StreamSink(target), render if console else encode_line, node=node)}
    if files:
        folder = logs_dir(settings.node.data)
        sink = EventFiles(folder, keep_bytes=settings.log.keep_bytes, keep_files=settings.log.keep_files)
        handlers["files"] = BackgroundHandler(sink, encode_line, node=node)
    return Logging(handlers, cast("Level", settings.log.level))


def _is_terminal(stream: TextIO) -> bool:
    with suppress(ValueError):
        return stream.isatty()
    return False
