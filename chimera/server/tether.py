"""Run as a script: become a command that the kernel ends when our parent dies (Linux).

``python -I -S tether.py PARENT_PID DESCRIPTOR PROGRAM ARGUMENT…``. The parent-death signal survives ``execv``, so
nothing of this stays behind. Descriptors other than that one and the standard three are closed: an event loop may leave
some open that are none of the program's business.

Why a program and not ``preexec_fn``: code between fork and exec runs in a copy of a process whose other threads are
gone, and may wait for a lock of theirs for ever.

The signal is tied to the *thread* that started us: it must be one that lives as long as the parent, never a worker.
SIGTERM, not SIGKILL: the server closes its store in order.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, kept, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # Where the kernel refuses, the server runs untied: the next start finds it by its lock and ends it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before its server began")
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    os.execv(command[0], command)  # noqa: S606 - that is its whole purpose


if __name__ == "__main__":
    main()
