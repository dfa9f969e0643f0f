"""The processes that use a lease: finding them, and ending them for certain. Linux; elsewhere groups only."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chimera.errors import BadMessageError, DeniedError

LEASE_VARIABLE = "CHIMERA_LEASE_ID"
"""Every process of a holder inherits this; it finds those that left their process group."""

_PROC = Path("/proc")
_MARK = f"{LEASE_VARIABLE}=".encode()
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Group:
    """A process group, told apart from a later one of the same number.

    Attributes:
        id: Process number of its leader.
        started: When the leader began, in clock ticks since boot; 0 where that can't be told.
    """

    id: int
    started: int


@dataclass(frozen=True, slots=True)
class Process:
    """A living process: its number, its parent's and its group's, when it began, and the memory it has in RAM."""

    pid: int
    parent: int
    group: int
    started: int
    resident_mib: int
    lease: str = ""


def identify(pid: int, lease: str) -> Group:
    """The group that ``pid`` leads, if it was started under the lease: nothing else may be ended for one.

    Raises:
        BadMessageError: If there is no such process here, or it does not lead its group.
        DeniedError: If it does not carry the lease in its environment.
    """
    try:
        leads = os.getpgid(pid) == pid
    except ProcessLookupError as error:
        raise BadMessageError(
            f"pid: no process {pid} on this node", hint="name a process that this node can see: same PID namespace"
        ) from error
    if not leads:
        raise BadMessageError(f"pid: {pid} does not lead its process group", hint="start it in a group of its own")
    if pid in _own_family() or (_PROC.is_dir() and lease_of(pid) != lease):
        raise DeniedError(
            f"pid: {pid} was not started under lease {lease}", hint=f"start it with {LEASE_VARIABLE}={lease}"
        )
    return Group(pid, _started(pid))


def is_alive(group: Group) -> bool:
    """True while a process of the group lives. One that ended but was not yet collected by its parent does not."""
    found = _started(group.id)
    if found and group.started and found != group.started:
        return False  # the number was given to somebody else, which happens only after the whole group was gone
    try:
        os.killpg(group.id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return any(process.group == group.id for process in _table()) if _PROC.is_dir() else True


def census() -> list[Process]:
    """Every living process here, with the lease that it carries; our own family carries none."""
    own = _own_family()
    return [
        process if process.pid in own or not (lease := lease_of(process.pid)) else _carrying(process, lease)
        for process in _table()
    ]


def strays(lease: str) -> list[int]:
    """Living processes that carry the lease in their environment, wherever they went; never our own family."""
    return [process.pid for process in census() if process.lease == lease]


def end(group: Group | None, lease: str, number: signal.Signals) -> None:
    """Send a signal to all processes of a holder: to its group, and to what carries its lease elsewhere."""
    outside = strays(lease)
    if group is not None and is_alive(group):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group.id, number)
    for pid in outside:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def lease_of(pid: int) -> str:
    """The lease that a process was started with; empty = none, or not ours to know."""
    try:
        data = _read(f"/proc/{pid}/environ")
    except OSError:
        return ""
    if _MARK not in data:
        return ""
    found = (row for row in data.split(b"\0") if row.startswith(_MARK))
    return next(found, _MARK)[len(_MARK) :].decode(errors="replace")


def _carrying(process: Process, lease: str) -> Process:
    return Process(
        process.pid, process.parent, process.group, process.started, process.resident_mib, lease
    )  # fmt: skip


def _table() -> list[Process]:
    try:
        numbers = [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208 - one call, no objects
    except OSError:
        return []
    return [process for pid in numbers if (process := _process(pid)) is not None]


def _process(pid: int) -> Process | None:
    """A living process. Its name stands in brackets and may hold anything: what is read begins after the last one."""
    try:
        words = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        if words[0] in {b"Z", b"X"}:
            return None
        resident_mib = int(words[21]) * _PAGE >> 20
        return Process(pid, int(words[1]), int(words[2]), int(words[19]), resident_mib)
    except (OSError, IndexError, ValueError):
        return None


def _read(path: str) -> bytes:
    """A file of ``/proc``: hundreds of them in a row, so without objects and buffers around each."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see above
        return file.read()


def _started(pid: int) -> int:
    process = _process(pid)
    return process.started if process else 0


def _own_family() -> set[int]:
    """Ourselves and those who started us."""
    pid, found = os.getpid(), {1, os.getpid()}
    while pid > 1 and (process := _process(pid)) is not None:
        pid = process.parent
        found.add(pid)
    return found
