"""``chimera gpu run`` with real processes, before a broker that a test plays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from chimera.cli.client import Client
from chimera.cli.gpu_run import LeasedRun
from chimera.devices.processes import strays
from chimera.errors import (
    BadMessageError,
    BadSettingError,
    ChimeraError,
    DeadlineError,
    FencedError,
    NoCapacityError,
    NoLeaseError,
    UnavailableError,
)
from subjects import Operation
from tests.support.processes import is_alive
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
LEASE = "run-test"
SLEEPS = "import time; print(flush=True); time.sleep(60)"
Answer = dict[str, Any] | ChimeraError


class PlayedBroker:
    """Answers as its fields say, and keeps what it was asked."""

    def __init__(self, ttl_s: float = 60.0) -> None:
        self.ttl_s = ttl_s
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.says: dict[str, Callable[[dict[str, Any]], Answer]] = {}
        self.alive_at_release: list[int] | None = None

    def lease(self, **changes: Any) -> dict[str, Any]:
        """A granted lease."""
        grant = {"device": "GPU-1", "node": "box", "kind": "gpu", "milli": 1000, "memory_mib": 0, "token": 7}
        whole: dict[str, Any] = {
            "id": LEASE, "state": "granted", "grants": [grant], "token": 7, "ttl_s": self.ttl_s, "environment": {},
            "revoke_at": None, "reason": "", "position": 0, "estimate_s": None,
        }  # fmt: skip
        return {**whole, **changes}

    async def ask(self, operation: Operation[Any, Any], body: Any, *, timeout_s: float | None = None) -> Any:  # noqa: ARG002 - the client's
        """An answer, or an error."""
        await anyio.lowlevel.checkpoint()
        self.asked.append((operation.verb, body))
        if operation.verb == "release":
            self.alive_at_release = strays(LEASE)
        answer = self.says.get(operation.verb, lambda _: self.lease())(body)
        if isinstance(answer, ChimeraError):
            raise answer
        return answer

    def count(self, verb: str) -> int:
        """How often it was asked for that."""
        return sum(1 for asked, _ in self.asked if asked == verb)


def leased(broker: PlayedBroker, *line: str) -> LeasedRun:
    """A run of a command."""
    request: dict[str, Any] = {"id": LEASE, "need": {}, "ttl_s": broker.ttl_s}
    return LeasedRun(cast("Client", broker), request, list(line))


async def test_the_command_has_the_devices_and_its_exit_code_is_ours(tmp_path: Path):
    """Devices stand in the environment by UUID, with the lease; the exit code is passed on; the lease is given back."""
    broker, told = PlayedBroker(), tmp_path / "told"
    names = "CUDA_VISIBLE_DEVICES", "CHIMERA_LEASE_ID", "CHIMERA_LEASE_TOKEN"
    program = (
        f"import os; open({str(told)!r}, 'w').write(' '.join(os.environ[n] for n in {names})); raise SystemExit(7)"
    )
    assert await leased(broker, sys.executable, "-c", program).main(0) == 7
    assert told.read_text() == f"GPU-1 {LEASE} 7"
    assert broker.count("release") == 1


async def test_a_lease_without_gpus_hides_them(tmp_path: Path):
    """A command that leased processors sees no GPU, whatever our own environment shows."""
    broker, told = PlayedBroker(), tmp_path / "told"
    grant = {**broker.lease()["grants"][0], "kind": "cpu", "device": "CPU-box"}
    broker.says["allocate"] = lambda _: broker.lease(grants=[grant], environment={"OMP_NUM_THREADS": "2"})
    line = f'echo "[$CUDA_VISIBLE_DEVICES] $OMP_NUM_THREADS" > {told}'
    assert await leased(broker, "sh", "-c", line).main(0) == 0
    assert told.read_text() == "[] 2\n"


async def test_a_command_that_a_signal_ended():
    """As a shell says it: 128 and the signal's number."""
    assert await leased(PlayedBroker(), "sh", "-c", "kill -9 $$").main(0) == 137


async def test_signals_reach_the_command(tmp_path: Path):
    """What we are sent goes to the command, whose answer to it is our exit code."""
    flag, codes = tmp_path / "flag", list[int]()
    run = leased(PlayedBroker(), "sh", "-c", f"trap 'exit 9' USR1; touch {flag}; while :; do sleep 0.01; done")

    async def main() -> None:
        codes.append(await run.main(0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(main)
        await until(flag.exists)
        os.kill(os.getpid(), signal.SIGUSR1)
    assert codes == [9]


async def test_the_node_is_told_whom_to_end():
    """The token is shown before the command starts, and then the leader of its group is named."""
    broker = PlayedBroker()
    assert await leased(broker, "sleep", "0.3").main(0) == 0
    first, second = [body for verb, body in broker.asked if verb == "admit"]
    assert (first["token"], first["pid"], first["node"]) == (7, 0, "box")
    assert second["pid"] > 0


async def test_a_lease_that_the_fence_refuses_starts_nothing(tmp_path: Path):
    """A token that is too old starts no command."""
    broker, told = PlayedBroker(), tmp_path / "told"
    broker.says["admit"] = lambda _: FencedError("token 7 is older than 9")
    with pytest.raises(FencedError):
        await leased(broker, "touch", str(told)).main(0)
    assert not told.exists()
    assert broker.count("release") == 1


async def test_a_command_that_its_node_can_not_see(capsys: pytest.CaptureFixture[str]):
    """A node that can't see the command does not make the run a failure; what that means is said."""
    broker = PlayedBroker()
    broker.says["admit"] = lambda body: BadMessageError("no process") if body["pid"] else broker.lease()
    assert await leased(broker, "true").main(0) == 0
    assert "can't end the command" in capsys.readouterr().err


async def test_a_command_begins_only_when_its_node_knows_it(tmp_path: Path):
    """Else a lease that is lost just then would leave it running, hunted by nobody."""
    broker, told = PlayedBroker(), tmp_path / "told"
    seen: list[bool] = []

    def admit(body: dict[str, Any]) -> Answer:
        seen.append(told.exists())
        return FencedError("lease run-test is over") if body["pid"] else broker.lease()

    broker.says["admit"] = admit
    assert await leased(broker, "touch", str(told)).main(0) == 1
    assert (seen, told.exists()) == ([False, False], False)


async def test_a_device_that_can_t_be_begun_with_yet():
    """A fence that waits for somebody's memory to come back is asked again before the command starts."""
    broker, refusals = PlayedBroker(), iter([UnavailableError("4000 MiB are in use without a lease")])
    broker.says["admit"] = lambda _: next(refusals, None) or broker.lease()
    assert await leased(broker, "true").main(0) == 0
    assert [body["pid"] for verb, body in broker.asked if verb == "admit"][:2] == [0, 0]


async def test_nothing_is_left_when_the_lease_is_given_back():
    """A child that went into a session of its own, and ignores TERM, is gone before the lease is given back."""
    broker = PlayedBroker(ttl_s=2)
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
    program = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {deaf!r}], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
"""
    assert await leased(broker, sys.executable, "-c", program).main(0) == 0
    assert broker.alive_at_release == []


async def test_it_is_renewed_at_a_third():
    """A command that runs for a whole time to live is not ended: its lease is renewed."""
    broker = PlayedBroker(ttl_s=3.0)
    assert await leased(broker, "sleep", "3.5").main(0) == 0
    assert broker.count("renew") >= 2


async def test_a_lost_lease_ends_the_command():
    """Told that there is no such lease any more, it ends the command, and says so by its exit code."""
    broker = PlayedBroker(ttl_s=1)
    broker.says["renew"] = lambda _: NoLeaseError("it was revoked")
    with anyio.fail_after(20):
        assert await leased(broker, sys.executable, "-c", SLEEPS).main(0) == 1
    assert strays(LEASE) == []


async def test_a_lease_that_can_t_be_renewed_ends_the_command_in_time():
    """When nobody answers, the command is ended before anybody else can have the devices."""
    broker = PlayedBroker(ttl_s=1)
    broker.says["renew"] = lambda _: DeadlineError()
    with anyio.fail_after(20):
        assert await leased(broker, sys.executable, "-c", SLEEPS).main(0) == 1
    assert broker.count("renew") >= 2


async def test_waiting_for_devices(capsys: pytest.CaptureFixture[str]):
    """While there is nothing free the place in the queue is shown; then the command runs."""
    broker, refusals = PlayedBroker(), iter([NoCapacityError("all is lent")] * 3)
    broker.says["allocate"] = lambda _: next(refusals, None) or broker.lease()
    broker.says["lease"] = lambda _: broker.lease(state="waiting", position=3, estimate_s=12.0)
    assert await leased(broker, "true").main(30) == 0
    assert "waiting: number 3, about 12 s" in capsys.readouterr().err


async def test_not_waiting_for_devices():
    """Without ``--wait`` it fails at once, and gives its place up."""
    broker = PlayedBroker()
    broker.says["allocate"] = lambda _: NoCapacityError("all is lent")
    with pytest.raises(NoCapacityError):
        await leased(broker, "true").main(0)
    assert broker.count("allocate") == 1


async def test_a_program_that_is_not_there():
    """The lease is given back, and what is wrong is said."""
    broker = PlayedBroker()
    with pytest.raises(BadSettingError, match="no such program"):
        await leased(broker, "/there/is/no/such/program").main(0)
    assert broker.count("release") == 1


async def test_being_cancelled_ends_the_command():
    """Whatever ends us ends the command first, then the lease."""
    broker, pids = PlayedBroker(ttl_s=2), list[int]()
    broker.says["admit"] = lambda body: pids.append(body["pid"]) or broker.lease()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leased(broker, "sleep", "60").main, 0)
        await until(lambda: pids and pids[-1])
        tasks.cancel_scope.cancel()
    assert not is_alive(pids[-1])
    assert broker.count("release") == 1


async def test_a_lease_whose_first_answer_was_lost_is_as_old_as_the_first_request(tmp_path: Path):
    """It may have been granted then: nothing starts under a lease whose time has gone by, and that can't be renewed."""
    broker, told = PlayedBroker(ttl_s=0.5), tmp_path / "told"
    broker.says["allocate"] = lambda _: (
        DeadlineError("no answer") if broker.count("allocate") < 2 else broker.lease(ttl_s=0.5)
    )
    broker.says["renew"] = lambda _: DeadlineError("no answer")
    with pytest.raises(UnavailableError, match="time went by"):
        await leased(broker, "touch", str(told)).main(5)
    assert not told.exists()
    assert broker.count("renew") == 1
    assert broker.count("release") == 1
