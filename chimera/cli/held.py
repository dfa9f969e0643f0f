"""A command in a process group of its own: started, signalled, waited for, and ended to its last process.

It begins only when it is told to: until its node knows whom to end, a lease that is lost just then would have its
devices lent again to others while the command, which nobody looks for, takes them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
import anyio.to_thread

from chimera.devices.ending import Ending
from chimera.devices.processes import Group, identify, is_alive
from chimera.devices.tenure import boot_time
from chimera.errors import BadSettingError, ChimeraError

_STEP_S = 0.05
_STARTING_S = 1.0
_UNTOLD, _NO_PROGRAM = 125, 127
_LAUNCH = f"""
import os, sys
gate, command = int(sys.argv[1]), sys.argv[2:]
if not os.read(gate, 1):
    sys.exit({_UNTOLD})
os.close(gate)
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(sys.stderr.write(f"{{command[0]}}: {{error.strerror}}\\n") and {_NO_PROGRAM})
"""
"""Becomes the command once a byte comes; ends if the one who would send it is gone."""


class HeldCommand:
    """A command that waits for ``go``, and everything that it starts.

    Args:
        command: Program and arguments.
        environment: All of its environment.
        lease: Its lease, which the environment carries.

    Raises:
        BadSettingError: If it can't be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], lease: str) -> None:
        if shutil.which(command[0], path=environment.get("PATH", os.defpath)) is None:
            raise BadSettingError(f"{command[0]}: there is no such program", hint="give a program after --")
        gate, self._gate = os.pipe()
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(gate), *command]
        try:
            self._child = subprocess.Popen(launch, env=dict(environment), process_group=0, pass_fds=[gate])
        finally:
            os.close(gate)
        self._lease = lease
        self._group = _group(self._child.pid, lease)
        _give_terminal(self._child.pid)

    def go(self) -> None:
        """Let it begin."""
        with suppress(BrokenPipeError):  # it has ended already
            os.write(self._gate, b"1")

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._child.pid

    async def wait(self) -> int:
        """Its exit code; 128 and the signal's number if one ended it."""
        code = await anyio.to_thread.run_sync(self._child.wait, abandon_on_cancel=True)
        return code if code >= 0 else 128 - code

    def is_alive(self) -> bool:
        """Whether any process of its group lives."""
        return is_alive(self._group)

    def signal(self, number: int) -> None:
        """Pass a signal on to its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end(self, grace_s: float) -> None:
        """Ask all that is left of it to end, kill it after ``grace_s``, and return when nothing is left."""
        ending = Ending(self._lease, self._group, now=boot_time(), grace_s=grace_s)
        with anyio.CancelScope(shield=True):
            while not await anyio.to_thread.run_sync(ending.step, boot_time()):
                self._child.poll()
                await anyio.sleep(_STEP_S)
            await self.wait()
        os.close(self._gate)
        _take_terminal()


def _group(pid: int, lease: str) -> Group:
    """The child's own group; it may have ended already.

    It has no environment, and so no lease, for the moment that execve(2) needs after its parent may go on.
    """
    until = time.monotonic() + _STARTING_S
    while True:
        try:
            return identify(pid, lease)
        except ChimeraError:
            if time.monotonic() > until:
                return Group(pid, 0)  # the number is our own child's until we collect it
            time.sleep(0.001)


def _give_terminal(group: int) -> None:
    """Let the command read the terminal and get its Ctrl-C, as a shell does for what it starts."""
    if sys.stdin is not None and sys.stdin.isatty():
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):
            os.tcsetpgrp(sys.stdin.fileno(), group)


def _take_terminal() -> None:
    if sys.stdin is not None and sys.stdin.isatty():
        with suppress(OSError):
            os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
