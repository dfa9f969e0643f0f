"""A child process that dies with us, starts without our secrets, and is ended within a deadline."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import anyio
from anyio.abc import Process

KILL_DEADLINE_S = 5.0
"""How long a killed process may take to be gone."""

_TETHER = Path(__file__).with_name("tether.py")
_ENVIRONMENT = ("PATH", "HOME", "TZ", "LANG", "LD_LIBRARY_PATH", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GOTRACEBACK")
"""What a child inherits of our environment: nothing that could be a secret."""


async def spawn(command: list[str], *, stderr: Path, pass_fd: int) -> Process:
    """Start ``command`` in a session of its own, so that Ctrl-C reaches us only and we stop it in our order.

    Shield it: a start that is cancelled half way leaves a process behind that nobody knows. Call it in a thread that
    lives as long as we do: on Linux the kernel ends the child with that thread.

    Args:
        command: Program (an absolute path) and arguments.
        stderr: File that takes what it writes there, emptied first.
        pass_fd: Descriptor that the child keeps open.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    target = os.open(stderr, flags, 0o600)
    try:
        return await anyio.open_process(
            _tethered(command, pass_fd), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=target,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            start_new_session=True, pass_fds=(pass_fd,),
        )  # fmt: skip
    finally:
        os.close(target)


async def end(process: Process, timeout_s: float) -> None:
    """SIGTERM, then SIGKILL after ``timeout_s``. Returns when it is gone, or can't be killed within a few seconds."""
    for act, patience in ((process.terminate, timeout_s), (process.kill, KILL_DEADLINE_S)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            act()
        with anyio.move_on_after(patience):
            await process.wait()


def _tethered(command: list[str], pass_fd: int) -> list[str]:
    if sys.platform != "linux" or not sys.executable:
        return command
    return [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), str(pass_fd), *command]
