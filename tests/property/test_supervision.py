"""Supervision against its definition, and trees under random failures."""

from __future__ import annotations

import random
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from chimera import Actor, Backoff, ChildSpec, Request, Restart, Strategy, SupervisorSpec, System, handles
from chimera.errors import ChimeraError
from chimera.supervision import RestartWindow, affected, should_restart
from chimera.supervisor import Supervisor
from chimera.testing import ManualClock, settle

moments = st.lists(st.floats(0, 20, allow_nan=False), max_size=30).map(sorted)


@given(moments, st.integers(0, 5), st.floats(0.1, 10))
def test_the_window_is_otps(times: list[float], intensity: int, period: float):
    """OTP: give up if more than MaxR restarts have occurred in the last MaxT seconds, this one included."""
    window = RestartWindow(intensity, period)
    for index, now in enumerate(times):
        recent = [at for at in times[: index + 1] if now - at <= period]
        assert window.record(now) == (len(recent) <= intensity)


@given(moments, st.floats(0.1, 10))
def test_failures_in_a_row_are_counted_from_the_last_quiet_period(times: list[float], period: float):
    """A gap longer than the period starts the row anew."""
    window = RestartWindow(100, period)
    row = 0
    for index, now in enumerate(times):
        row = 1 if index == 0 or now - times[index - 1] > period else row + 1
        window.record(now)
        assert window.failures_in_row == row


@given(st.integers(0, 100), st.integers(0, 2**32), st.floats(0.01, 1), st.floats(1, 60), st.floats(0, 1))
def test_the_back_off_is_bounded_and_grows(failures: int, seed: int, initial: float, most: float, jitter: float):
    """Between the jittered initial delay and the maximum."""
    backoff = Backoff(initial, most, 2.0, jitter)
    delay = backoff.delay(failures, random.Random(seed))  # noqa: S311 - jitter
    whole = min(initial * 2.0 ** min(failures, 60), most)
    assert whole * (1 - jitter) - 1e-9 <= delay <= whole <= most


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, unique=True), st.data())
def test_who_is_affected(order: list[str], data: st.DataObject):
    """One: itself. All: everybody. Rest: itself and those started after it; always in order."""
    ended = data.draw(st.sampled_from(order))
    assert affected(Strategy.ONE_FOR_ONE, order, ended) == [ended]
    assert affected(Strategy.ONE_FOR_ALL, order, ended) == order
    rest = affected(Strategy.REST_FOR_ONE, order, ended)
    assert rest[0] == ended
    assert rest == order[-len(rest) :]


@given(st.sampled_from(Restart), st.booleans())
def test_who_is_restarted(restart: Restart, failed: bool):  # noqa: FBT001 - drawn
    """Permanent always, transient after failures, temporary never."""
    expected = {Restart.PERMANENT: True, Restart.TRANSIENT: failed, Restart.TEMPORARY: False}[restart]
    assert should_restart(restart, failed=failed) == expected


class Break(Request[str], frozen=True):
    """Fail."""


class Leaf(Actor):
    """Notes its life; fails when asked."""

    def __init__(self, lives: list[str]) -> None:
        self.lives = lives

    async def on_start(self) -> None:
        """Note it."""
        self.lives.append(f"+{self.ctx.self_ref.key}")

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the contract's
        """Note it."""
        self.lives.append(f"-{self.ctx.self_ref.key}")

    @handles
    async def break_(self, message: Break) -> str:  # noqa: ARG002 - the contract's
        """Fail."""
        raise ValueError("broken")


def _supervisor(depth: int) -> st.SearchStrategy[Any]:
    leaf = st.sampled_from(Restart)
    child = leaf if depth == 0 else leaf | _supervisor(depth - 1)
    return st.tuples(st.sampled_from(Strategy), st.lists(child, min_size=1, max_size=3))


def _spec(drawn: Any, lives: list[str], path: str) -> SupervisorSpec:
    strategy, children = drawn
    specs: list[ChildSpec | SupervisorSpec] = []
    for index, child in enumerate(children):
        name = f"{path}-{index}"
        if isinstance(child, Restart):
            specs.append(ChildSpec(name, Leaf, {"lives": lives}, restart=child, key=name))
        else:
            specs.append(_spec(child, lives, name))
    return SupervisorSpec(path, tuple(specs), strategy, intensity=2)


def _check(supervisor: Supervisor, expected: list[str]) -> None:
    """Every child that its table calls running runs; nothing else does."""
    for row in supervisor.rows.values():
        if isinstance(row.child, Supervisor):
            if row.state == "running":
                _check(row.child, expected)
        elif row.state == "running":
            expected.append(f"leaf/{row.spec.id}")


@settings(max_examples=60, deadline=None)
@given(_supervisor(2), st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.0, 0.05, 1.0, 20.0])), max_size=12))
def test_a_tree_under_random_failures_keeps_its_order(drawn: Any, failures: list[tuple[int, float]]):
    """What the tables say is what runs; each life ends before the next begins; a stop goes through in reverse."""

    async def run() -> None:
        clock, lives = ManualClock(), list[str]()
        rng = random.Random(0)  # noqa: S311 - jitter
        async with System(clock=clock, rng=rng) as system:
            root = await system.start(_spec(drawn, lives, "r"))
            for pick, pause in failures:
                names = sorted(system.cells)
                if names:
                    ref = system.ref("leaf", key=names[pick % len(names)].partition("/")[2])
                    async with anyio.create_task_group() as group:
                        group.start_soon(_break, ref)
                        await settle(10)
                        group.cancel_scope.cancel()
                await clock.advance(pause)
            await clock.advance(60)
            expected: list[str] = []
            _check(root, expected)
            assert expected == sorted(expected), "children stand in the order of the specification"
            assert sorted(system.cells) == ([] if system.failed.is_set() else sorted(expected))
            assert all(str(cell.state) == "running" for cell in system.cells.values())
            before = len(lives)
            await system.stop("stopped")
            assert [line[1:] for line in lives[before:]] == [name.partition("/")[2] for name in reversed(expected)]
            assert not system.cells
        for key in {line[1:] for line in lives}:
            own = [line[0] for line in lives if line[1:] == key]
            assert own == ["+", "-"] * (len(own) // 2), "starts and stops alternate"

    anyio.run(run)


async def _break(ref: Any) -> None:
    try:
        await ref.ask(Break())
    except ChimeraError:
        return
