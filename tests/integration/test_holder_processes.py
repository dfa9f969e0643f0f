"""Finding and ending the processes of a lease, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chimera.devices.processes import LEASE_VARIABLE, Group, census, end, identify, is_alive, strays
from chimera.errors import BadMessageError, DeniedError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
Start = Callable[..., "subprocess.Popen[bytes]"]
SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
LEAVES = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True).pid, flush=True)
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program as a holder would be; all of them are ended at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(program: str, *, lease: str = "L1", group: bool = True) -> subprocess.Popen[bytes]:
        environment = {**os.environ, LEASE_VARIABLE: lease}
        child = subprocess.Popen(
            [sys.executable, "-c", program], process_group=0 if group else None, env=environment, stdout=subprocess.PIPE
        )
        started.append(child)
        while not Path(f"/proc/{child.pid}/environ").read_bytes():  # execve(2) is still at work
            time.sleep(0.001)
        return child

    yield begin
    for child in started:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def line(child: subprocess.Popen[bytes]) -> str:
    """What it printed first."""
    assert child.stdout is not None
    return child.stdout.readline().decode().strip()


async def test_a_group_is_alive_until_it_ended(start: Start):
    """A process that ended is gone at once, also while its parent has not collected it."""
    child = start(SLEEP)
    group = identify(child.pid, "L1")
    assert is_alive(group)
    end(group, "L1", signal.SIGTERM)
    await until(lambda: not is_alive(group))


async def test_a_reused_number_is_somebody_else(start: Start):
    """A group whose leader began at another time is not the one that was meant, and is not signalled."""
    child = start(SLEEP)
    found = identify(child.pid, "L1")
    other = Group(found.id, found.started + 1)
    assert not is_alive(other)
    end(other, "another-lease", signal.SIGKILL)
    assert is_alive(found)


async def test_a_holder_that_ignores_term_is_killed(start: Start):
    """TERM is ignored, KILL is not."""
    child = start(DEAF)
    line(child)
    group = identify(child.pid, "L1")
    end(group, "L1", signal.SIGTERM)
    assert is_alive(group)
    end(group, "L1", signal.SIGKILL)
    await until(lambda: not is_alive(group))


async def test_what_left_the_group_is_found_by_its_lease(start: Start):
    """A child in a session of its own, whose parent ended, still carries the lease and is ended with it."""
    child = start(LEAVES, lease="L-stray")
    runaway = int(line(child))
    child.wait()
    assert strays("L-stray") == [runaway]
    end(None, "L-stray", signal.SIGKILL)
    await until(lambda: strays("L-stray") == [])


async def test_only_group_leaders_can_be_holders(start: Start):
    """A process inside of another group can't be named: ending its group would end others."""
    child = start(SLEEP, group=False)
    with pytest.raises(BadMessageError, match="does not lead"):
        identify(child.pid, "L1")


async def test_only_what_was_started_under_the_lease_can_be_its_holder(start: Start):
    """Nobody can have somebody else's process ended by naming it as the holder of a lease."""
    child = start(SLEEP, lease="another")
    with pytest.raises(DeniedError, match="not started under lease L1"):
        identify(child.pid, "L1")


async def test_our_own_family_is_never_ended():
    """A node does not take itself or who started it for a holder."""
    assert os.getpid() not in [process.pid for process in census() if process.lease]
    if os.getpgrp() == os.getpid():
        with pytest.raises(DeniedError):
            identify(os.getpid(), "L1")


async def test_the_census_tells_who_uses_what(start: Start):
    """A holder's process is listed with its lease, its group and its memory."""
    child = start(DEAF, lease="L-census")
    line(child)
    (found,) = [process for process in census() if process.lease == "L-census"]
    assert (found.pid, found.group) == (child.pid, child.pid)
    assert found.resident_mib >= 1


async def test_a_process_that_is_not_here_is_refused():
    """What this node can't see it can't end."""
    with pytest.raises(BadMessageError, match="no process"):
        identify(2**22 - 1, "L1")
