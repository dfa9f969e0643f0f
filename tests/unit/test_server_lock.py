"""One server per store: who is ended, who is refused, who is left alone."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from chimera.clock import SystemClock
from chimera.errors import StartError
from chimera.server.identity import Identity, command_line, identify
from chimera.server.lock import Holder, StoreLock

pytestmark = pytest.mark.anyio

NOBODY = Identity(2**22 + 1, "never")


class JumpingClock(SystemClock):
    """Sleeping only moves the hands, and tells who wants to know."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        """The hands."""
        return self.now

    async def sleep(self, delay: float) -> None:
        """Move them."""
        self.now += delay
        await anyio.to_thread.run_sync(self.on_sleep)


class Held:
    """A lock file that somebody else holds, with what they wrote into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def says(self, holder: Holder) -> None:
        """Write who holds it."""
        self.path.write_bytes(msgspec.json.encode(holder))

    def close(self) -> None:
        """Let go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """The lock file of another node."""
    (tmp_path / "nats").mkdir()
    other = Held(tmp_path / "nats" / "server.lock")
    yield other
    other.close()


@pytest.fixture
def clock() -> JumpingClock:
    """A clock without waiting."""
    return JumpingClock()


@pytest.fixture
def lock(held: Held, clock: JumpingClock) -> Iterator[StoreLock]:
    """Ours, on the same file."""
    made = StoreLock(held.path, held.path.with_name("server.conf"), clock)
    yield made
    made.release()


def sleeper(*arguments: str, script: str = "echo up; read line") -> subprocess.Popen[bytes]:
    """A process that waits, with ``arguments`` in its command line."""
    command = ["sh", "-c", script, "nats-server", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.fixture
def orphan(held: Held) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like our server: it has our configuration in its command line."""
    with sleeper("-c", str(held.path.with_name("server.conf"))) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_a_free_lock_is_taken_and_kept(held: Held, lock: StoreLock):
    """A free lock is ours at once, taking it again keeps it, and nobody else gets it meanwhile."""
    held.close()
    await lock.acquire()
    await lock.acquire()
    with pytest.raises(BlockingIOError):
        fcntl.flock(os.open(held.path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert msgspec.json.decode(held.path.read_bytes(), type=Holder).owner == identify(os.getpid())
    lock.release()
    Held(held.path).close()


async def test_a_live_owner_is_respected(held: Held, lock: StoreLock, clock: JumpingClock):
    """While the other node lives we are refused at once, by its process number."""
    held.says(Holder(identify(os.getpid()), None))
    with pytest.raises(StartError, match=rf"node\.data_dir: .* in use by process {os.getpid()}"):
        await lock.acquire()
    assert clock.now == 0.0


async def test_an_orphan_is_ended(held: Held, lock: StoreLock, clock: JumpingClock, orphan: subprocess.Popen[bytes]):
    """A server of this folder whose owner is dead is asked to end; its lock is taken when it is gone."""
    held.says(Holder(NOBODY, identify(orphan.pid)))

    def gone() -> None:
        orphan.wait(10)
        held.close()

    clock.on_sleep = gone
    await lock.acquire()
    assert orphan.returncode == -15
    assert clock.now < 1.0


@pytest.mark.parametrize("difference", ["start time", "command line", "nothing written"])
async def test_a_stranger_is_left_alone(difference: str, held: Held, lock: StoreLock, clock: JumpingClock):
    """A process that merely has the number, or is no server of this folder, is not touched; we give up and say so."""
    arguments = () if difference == "command line" else ("-c", str(held.path.with_name("server.conf")))
    with sleeper(*arguments) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        seen = identify(stranger.pid)
        assert seen is not None
        if difference == "start time":
            seen = Identity(seen.pid, "another")
        if difference != "nothing written":
            held.says(Holder(NOBODY, seen))
        with pytest.raises(StartError, match=r"node\.data_dir: .* in use by a process that can't be told"):
            await lock.acquire()
        assert stranger.poll() is None
        stranger.kill()
    assert 5.0 < clock.now < 60.0


async def test_an_orphan_that_ignores_sigterm_is_killed(held: Held, lock: StoreLock, clock: JumpingClock):
    """A hung server gets SIGKILL after some seconds."""
    with sleeper(str(held.path.with_name("server.conf")), script='trap "" TERM; echo up; read line') as orphan:
        assert orphan.stdout is not None
        orphan.stdout.readline()
        held.says(Holder(NOBODY, identify(orphan.pid)))

        def watch() -> None:
            if clock.now > 5.1:
                orphan.wait(10)
                held.close()

        clock.on_sleep = watch
        await lock.acquire()
    assert orphan.returncode == -9


def test_identity_of_a_process():
    """A live process has an identity, an ended one has none."""
    with sleeper("mark") as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = identify(process.pid)
        assert seen == identify(process.pid)
        assert "mark" in command_line(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identify(process.pid) is None, "a zombie is no live process"
    assert identify(process.pid) is None
    assert command_line(process.pid) == []
