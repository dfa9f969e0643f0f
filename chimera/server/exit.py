"""How a server ended, in words: from its exit code, its log and what it wrote beside the log."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from chimera.errors import BadSettingError, ChimeraError, StartError

from .settings import ServerFiles, ServerSettings

_TAIL_BYTES = 8192
_TAIL_LINES = 8
_CALM = ("[INF]", "[DBG]", "[TRC]")
_FOLDER_WORDS = ("permission denied", "no space left", "read-only file system", "not a directory")


@dataclass(frozen=True, slots=True)
class ServerExit:
    """The end of one run.

    Attributes:
        code: Exit code; minus the signal's number if a signal ended it; ``None`` if it can't even be killed.
        wanted: True if ``stop`` was called.
        lines: The last lines it wrote, oldest first.
    """

    code: int | None
    wanted: bool
    lines: tuple[str, ...]

    @property
    def reason(self) -> str:
        """``exit code 1`` or ``SIGKILL``."""
        if self.code is None:
            return "no end in sight"
        if self.code >= 0:
            return f"exit code {self.code}"
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"

    def __str__(self) -> str:
        return f"nats-server ended with {self.reason}{''.join(f': {line}' for line in self.complaints[-1:])}"

    @property
    def complaints(self) -> list[str]:
        """Those of the last lines that are no mere information."""
        return [line for line in self.lines if not any(level in line for level in _CALM)]


def last_lines(files: ServerFiles, pid: int) -> tuple[str, ...]:
    """The last lines that this run wrote into its log, then those beside the log."""
    mark = f"[{pid}] "
    logged = [line.removeprefix(mark) for line in _tail(files.log) if line.startswith(mark)]
    return (*logged[-_TAIL_LINES:], *_tail(files.stderr)[-_TAIL_LINES:])


def explain(settings: ServerSettings, exit_: ServerExit) -> ChimeraError:
    """Why a server that ended while it started did so: the error that names the setting to change."""
    text = "\n".join(exit_.lines).lower()
    if "address already in use" in text:
        return port_taken(settings, settings.port, by_nats=False)
    words = next((words for words in _FOLDER_WORDS if words in text), "")
    if words:
        return BadSettingError(
            f"node.data_dir: nats-server can't use {settings.data_dir}: {words}",
            hint="give a folder that this user may write, with room in it, with node.data_dir",
        )
    files = ServerFiles(settings.data_dir)
    return StartError(
        f"nats-server ended with {exit_.reason} while it started: {' | '.join(exit_.complaints) or 'no reason given'}",
        hint=f"see {files.log}; another program can be named with nats.server",
    )


def port_taken(settings: ServerSettings, port: int, *, by_nats: bool) -> StartError:
    """The error for a port that somebody else listens on."""
    where = f"nats.port: {settings.host}:{port} is taken"
    if by_nats:
        return StartError(
            f"{where} by another NATS server", hint="use that one with nats.url, or change nats.port (0 = any)"
        )
    return StartError(f"{where} by another program", hint="change nats.port (0 = any free one)")


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]
