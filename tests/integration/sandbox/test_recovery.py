"""What happens when workers die or files are damaged."""
# pyright: reportPrivateUsage=false
# The tests look at the pool's own processes in order to kill them.

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from chimera.clock import SystemClock
from chimera.errors import BadSettingError, OverloadedError, UnavailableError
from chimera.sandbox import GuestFailure, GuestResult, GuestSpec, SandboxSettings
from chimera.sandbox.local import LocalSandbox

pytestmark = pytest.mark.anyio
Binary = Callable[[str], bytes]
Spec = Callable[..., GuestSpec]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    """A sandbox that a test may break: two workers, two calls may wait."""
    async with LocalSandbox(SandboxSettings(tmp_path / "cache", workers=2, max_waiting=2), SystemClock()) as made:
        yield made


def workers(sandbox: LocalSandbox) -> dict[int, bool]:
    """Process ids of the workers, and whether each is idle."""
    pool = sandbox._pool
    return {link.process.pid: link in pool._gate._idle for link in pool.links}


def environment(pid: int) -> bytes:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


async def until(condition: Callable[[], bool]) -> None:
    """Poll, with a deadline."""
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the state of other processes has no event
            await anyio.sleep(0.01)


async def test_a_killed_worker_loses_one_task(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """The payload that ran is lost, those behind it run on another worker, and the dead one is replaced."""
    looping = await own.load(make_spec("loop", (await own.check(guest_binary("loop"))).digest, cpu_ms=700.0))
    before = set(workers(own))
    outcomes: list[GuestResult | GuestFailure] = []

    async def run() -> None:
        outcomes.extend(await looping.run("predict", [b"1", b"2", b"3"]))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: not all(workers(own).values()))
        await anyio.sleep(0.1)
        (busy,) = [pid for pid, idle in workers(own).items() if not idle]
        os.kill(busy, signal.SIGKILL)
    assert [getattr(o, "kind", "") for o in outcomes] == ["lost", "agent-limit", "agent-limit"]
    assert getattr(outcomes[0], "executed", None) is True
    await until(lambda: len(workers(own)) == 2)
    assert set(workers(own)) != before
    assert own.statistics().worker_deaths == 1
    await looping.close()


async def test_guests_are_loaded_again_after_all_workers_died(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """New workers get every guest before they serve; a call made meanwhile waits for them."""
    guest = await own.load(make_spec("genome", (await own.check(guest_binary("genome"))).digest, genome=(1.5,)))
    for pid in workers(own):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: own.statistics().worker_deaths == 2)
    with anyio.fail_after(30):
        (outcome,) = await guest.run("predict", [b""])
    assert isinstance(outcome, GuestResult)
    await guest.close()


async def test_a_worker_that_hangs_is_killed(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """A stopped process cannot end its guest: it is killed at twice the wall limit, and the task blames the wall."""
    spec = make_spec("loop", (await own.check(guest_binary("loop"))).digest, cpu_ms=9000.0, wall_ms=400.0)
    guest = await own.load(spec)
    outcomes: list[GuestResult | GuestFailure] = []

    async def run() -> None:
        outcomes.extend(await guest.run("predict", [b""]))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: not all(workers(own).values()))
        (busy,) = [pid for pid, idle in workers(own).items() if not idle]
        os.kill(busy, signal.SIGSTOP)
    (outcome,) = outcomes
    assert isinstance(outcome, GuestFailure)
    assert (outcome.kind, outcome.limit) == ("agent-limit", "wall")
    assert "killed" in outcome.detail
    await guest.close()


async def test_tampered_code_is_never_run(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """One flipped bit in the compiled file, or in its note, is found out, and the module is compiled again."""
    info = await own.check(guest_binary("echo"))
    entry = own._cache.find(info.digest, deterministic=True)
    assert entry is not None
    good = entry.path.read_bytes()
    entry.path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    guest = await own.load(make_spec("echo", info.digest))
    (outcome,) = await guest.run("predict", [b"fine"])
    assert isinstance(outcome, GuestResult)
    assert outcome.output == b"fine"
    assert entry.path.read_bytes() == good
    await guest.close()
    note = entry.path.with_suffix(".json")
    note.write_bytes(note.read_bytes().replace(b'"predict"', b'"predikt"'))
    assert own._cache.find(info.digest, deterministic=True) is None
    assert (await own.check(guest_binary("echo"))).tasks == ("predict",)


async def test_cache_is_private(own: LocalSandbox, guest_binary: Binary):
    """Nobody else can read or write the cache."""
    await own.check(guest_binary("echo"))
    folder = own._settings.cache_dir
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert not list(folder.glob("*.part"))


async def test_too_many_waiting_calls_are_refused(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """The queue for workers has a bound; the call beyond it is told at once."""
    guest = await own.load(make_spec("loop", (await own.check(guest_binary("loop"))).digest, cpu_ms=500.0))
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(guest.run, "predict", [b""])
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(OverloadedError):
            await guest.run("predict", [b""])
    await guest.close()


async def test_workers_hold_no_secrets(own: LocalSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A worker's environment has our import path and nothing else, and only its socket is open."""
    monkeypatch.setenv("NATS_CREDENTIALS", "secret")
    async with LocalSandbox(SandboxSettings(tmp_path / "other", workers=1), SystemClock()) as other:
        (pid,) = workers(other)
        names = {item.split(b"=")[0] for item in environment(pid).split(b"\0") if item}
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH208, PTH115 - links of another process
    assert names - {b"PYTHONDONTWRITEBYTECODE", b"PYTHONPYCACHEPREFIX"} == {b"PYTHONPATH", b"LC_ALL"}
    assert len([target for target in targets if target.startswith("socket:")]) == 1
    assert not own._pool._closing


async def test_closing_ends_the_workers(tmp_path: Path, guest_binary: Binary, make_spec: Spec):
    """After the context no process is left, and what comes later is refused."""
    async with LocalSandbox(SandboxSettings(tmp_path / "cache", workers=2), SystemClock()) as made:
        guest = await made.load(make_spec("echo", (await made.check(guest_binary("echo"))).digest))
        pids = list(workers(made))
    assert not any(is_alive(pid) for pid in pids)
    with pytest.raises(UnavailableError):
        await guest.run("predict", [b""])
    with pytest.raises(UnavailableError):
        await made.load(guest.spec)


async def test_inline_needs_permission(own: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """Where inline placement is not allowed the load says so."""
    info = await own.check(guest_binary("echo"))
    with pytest.raises(BadSettingError, match="inline"):
        await own.load(make_spec("echo", info.digest, placement="inline"))
