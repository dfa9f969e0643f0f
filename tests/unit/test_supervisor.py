"""Supervisors: who is restarted, when, in which order, and when it is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from chimera import Actor, Backoff, ChildSpec, Command, Ref, Request, Restart, Strategy, SupervisorSpec, System, handles
from chimera.errors import CrashedError, NotRunningError, StartError
from chimera.testing import EventRecorder, ManualClock, settle

pytestmark = pytest.mark.anyio
NO_JITTER = Backoff(jitter=0.0)


class Break(Request[str], frozen=True):
    """Fail."""


class Ping(Request[int], frozen=True):
    """Which instance this is."""


class Spawn(Command, frozen=True):
    """Begin background work that fails."""


@dataclass
class Diary:
    """What children did, in order; and which of them fail to start."""

    lines: list[str] = field(default_factory=list[str])
    bad_starts: dict[str, int] = field(default_factory=dict[str, int])
    hang: set[str] = field(default_factory=set[str])
    born: int = 0
    gate: anyio.Event = field(default_factory=anyio.Event)


class Child(Actor):
    """Writes a diary."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        diary.born += 1
        self.number = diary.born

    async def on_start(self) -> None:
        """Note it, or fail."""
        key = self.ctx.self_ref.key
        if self.diary.bad_starts.get(key, 0) > 0:
            self.diary.bad_starts[key] -= 1
            raise OSError(f"{key} can't start")
        if key in self.diary.hang:
            await anyio.sleep_forever()
        self.diary.lines.append(f"+{key}")

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the contract's
        """Note it."""
        self.diary.lines.append(f"-{self.ctx.self_ref.key}")

    @handles
    async def break_(self, message: Break) -> str:  # noqa: ARG002 - the contract's
        """Fail."""
        raise ValueError("broken")

    @handles
    async def ping(self, message: Ping) -> int:  # noqa: ARG002 - the contract's
        """Which instance."""
        return self.number

    @handles
    async def spawn(self, message: Spawn) -> None:  # noqa: ARG002 - the contract's
        """Begin."""
        self.ctx.spawn(self._fail)

    async def _fail(self) -> None:
        raise RuntimeError("background")


class Slow(Child):
    """Its on_start can't be interrupted; it ends when the gate opens."""

    def __init__(self, diary: Diary) -> None:
        super().__init__(diary)
        diary.gate = anyio.Event() if diary.born > 1 else diary.gate

    async def on_start(self) -> None:
        """Take as long as the gate is shut."""
        with anyio.CancelScope(shield=True):
            await self.diary.gate.wait()
        self.diary.lines.append("+slow")


@dataclass
class Rig:
    """A system on a clock that the test moves."""

    system: System
    clock: ManualClock
    events: EventRecorder
    diary: Diary

    def child(self, key: str, restart: Restart = Restart.PERMANENT, **more: Any) -> ChildSpec:
        """A child specification."""
        return ChildSpec(key, Child, {"diary": self.diary}, restart=restart, key=key, **more)

    def ref(self, key: str) -> Ref:
        """The address of a child."""
        return self.system.ref("child", key=key)

    async def crash(self, key: str) -> None:
        """Make it fail."""
        with pytest.raises(CrashedError):
            await self.ref(key).ask(Break())

    def state(self, key: str) -> str:
        """What the root's table says."""
        assert self.system.root is not None
        return self.system.root.rows[key].state


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A fresh one."""
    clock, events = ManualClock(), EventRecorder()
    async with System(clock=clock, events=events) as system:
        yield Rig(system, clock, events, Diary())


def tree(*children: ChildSpec | SupervisorSpec, strategy: Strategy = Strategy.ONE_FOR_ONE, **more: Any) -> Any:
    """A root without jitter."""
    return SupervisorSpec("root", children, strategy, backoff=NO_JITTER, **more)


async def test_children_start_in_order_and_stop_in_reverse(rig: Rig):
    """The order of the specification is the order of life."""
    await rig.system.start(tree(*map(rig.child, "abc")))
    await rig.system.stop("stopped")
    assert rig.diary.lines == ["+a", "+b", "+c", "-c", "-b", "-a"]


@pytest.mark.parametrize(
    ("strategy", "lines"),
    [
        (Strategy.ONE_FOR_ONE, ["-b", "+b"]),
        (Strategy.ONE_FOR_ALL, ["-c", "-b", "-a", "+a", "+b", "+c"]),
        (Strategy.REST_FOR_ONE, ["-c", "-b", "+b", "+c"]),
    ],
)
async def test_the_strategy_says_who_is_restarted(rig: Rig, strategy: Strategy, lines: list[str]):
    """The affected stop in reverse and start in order; the others are left alone."""
    await rig.system.start(tree(*map(rig.child, "abc"), strategy=strategy))
    rig.diary.lines.clear()
    await rig.crash("b")
    await rig.clock.advance(1)
    assert rig.diary.lines == lines
    assert await rig.ref("b").ask(Ping()) > 3


async def test_messages_wait_for_the_restart_behind_the_same_address(rig: Rig):
    """During the back-off a message is taken in, and the fresh instance answers it."""
    await rig.system.start(tree(rig.child("a")))
    await rig.crash("a")
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await rig.ref("a").ask(Ping()))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await settle()
        assert not answers
        await rig.clock.advance(0.1)
    assert answers == [2]


async def test_the_back_off_doubles_and_is_reset_by_a_quiet_period(rig: Rig):
    """0.1, 0.2 s, and after a quiet period 0.1 s again."""
    await rig.system.start(tree(rig.child("a"), intensity=10))
    delays: list[float] = []
    for pause in (0, 0, 60):
        await rig.clock.advance(pause)
        await rig.crash("a")
        await rig.clock.advance(1)
    delays = [fields["delay_s"] for name, fields in rig.events.events if name == "actor-restarted"]
    assert delays == [0.1, 0.2, 0.1]


async def test_too_many_restarts_escalate_to_the_top(rig: Rig):
    """The supervisor gives up, stops its children, its parent tries again; in the end the system has failed."""
    inner = SupervisorSpec("inner", (rig.child("a"), rig.child("b")), intensity=0, backoff=NO_JITTER)
    await rig.system.start(tree(inner, rig.child("c"), intensity=1))
    await rig.crash("a")
    await rig.clock.advance(1)
    assert not rig.system.failed.is_set()
    assert await rig.ref("b").ask(Ping()) == 5, "inner was started anew, with all its children"
    assert rig.system.root is not None
    assert rig.system.root.tree()["children"][0]["children"][0]["cause"] == "ValueError: broken", "it is remembered"
    await rig.crash("a")
    await rig.clock.advance(1)
    assert rig.system.failed.is_set()
    assert isinstance(rig.system.failure, StartError)
    assert rig.state("inner") == "gave-up"
    assert not rig.system.cells
    assert rig.diary.lines[-1] == "-c", "what still ran is stopped"


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.PERMANENT])
async def test_failures_restart_permanent_and_transient_children(rig: Rig, restart: Restart):
    """Both come back after a crash."""
    await rig.system.start(tree(rig.child("a", restart)))
    await rig.crash("a")
    await rig.clock.advance(1)
    assert await rig.ref("a").ask(Ping()) == 2


async def test_a_temporary_child_is_never_restarted(rig: Rig):
    """Not after its own crash, and not after a sibling's under one_for_all."""
    await rig.system.start(
        tree(rig.child("a", Restart.TEMPORARY), rig.child("b", Restart.TEMPORARY), rig.child("c"),
             strategy=Strategy.ONE_FOR_ALL)
    )  # fmt: skip
    await rig.crash("a")
    await settle()
    with pytest.raises(NotRunningError):
        await rig.ref("a").ask(Ping())
    await rig.crash("c")
    await rig.clock.advance(1)
    with pytest.raises(NotRunningError):
        await rig.ref("b").ask(Ping())
    assert await rig.ref("c").ask(Ping()) == 4


async def test_a_first_start_that_fails_leaves_nothing(rig: Rig):
    """The error comes out; those that had started are stopped in reverse."""
    rig.diary.bad_starts["c"] = 1
    with pytest.raises(OSError, match="can't start"):
        await rig.system.start(tree(*map(rig.child, "abcd")))
    assert rig.diary.lines == ["+a", "+b", "-b", "-a"]
    assert not rig.system.cells


async def test_a_restart_that_fails_counts_as_a_failure(rig: Rig):
    """It is tried again with a longer back-off, and given up by the same window."""
    await rig.system.start(tree(rig.child("a")))
    rig.diary.bad_starts["a"] = 2
    await rig.crash("a")
    await rig.clock.advance(0.69)
    assert rig.state("a") == "restarting"
    await rig.clock.advance(0.02)
    assert rig.state("a") == "running"
    rig.diary.bad_starts["a"] = 9
    await rig.crash("a")
    await rig.clock.advance(1)
    assert rig.system.failed.is_set()


async def test_a_start_is_bounded(rig: Rig):
    """``start_s`` ends a start that hangs."""
    rig.diary.hang.add("a")
    async with anyio.create_task_group() as group:

        async def start() -> None:
            with pytest.raises(StartError, match="within 2 s"):
                await rig.system.start(tree(rig.child("a", start_s=2.0)))

        group.start_soon(start)
        await settle()
        await rig.clock.advance(2)
    assert not rig.system.cells


async def test_a_child_removed_during_its_back_off_stays_away(rig: Rig):
    """The restart under way does not bring it back."""
    root = await rig.system.start(tree(rig.child("a"), rig.child("b")))
    await rig.crash("a")
    await settle()
    await root.remove("a")
    await rig.clock.advance(10)
    assert list(rig.system.cells) == ["child/b"]
    await rig.crash("b")
    await rig.clock.advance(1)
    assert await rig.ref("b").ask(Ping()) == 3, "the loop goes on"


async def test_stopping_during_a_restart_leaves_nothing(rig: Rig):
    """Neither in the back-off nor in an on_start that hangs."""
    await rig.system.start(tree(rig.child("a"), rig.child("b")))
    rig.diary.hang.add("a")
    await rig.crash("a")
    await rig.clock.advance(1)
    assert rig.state("a") == "restarting"
    await rig.system.stop("stopped")
    assert not rig.system.cells
    with pytest.raises(StartError):
        await rig.system.spawn(Child, diary=rig.diary)


@pytest.mark.parametrize("how", ["stop", "remove"])
async def test_a_start_that_outlasts_a_stop_does_not_come_back_to_life(rig: Rig, how: str):
    """An on_start that shields itself is waited for, and its instance never serves."""
    rig.diary.gate.set()
    root = await rig.system.start(tree(ChildSpec("s", Slow, {"diary": rig.diary}), rig.child("b")))
    with pytest.raises(CrashedError):
        await rig.system.ref("slow").ask(Break())
    await rig.clock.advance(1)
    assert rig.diary.lines == ["+slow", "+b", "-"], "the second start hangs"
    async with anyio.create_task_group() as group:
        if how == "stop":
            group.start_soon(rig.system.stop, "stopped")
        else:
            group.start_soon(root.remove, "s")
        await settle()
        assert "-b" not in rig.diary.lines, "nothing else is stopped beside a start under way"
        rig.diary.gate.set()
    await rig.clock.advance(1)
    assert "slow" not in rig.system.cells
    assert rig.diary.lines.count("+slow") == rig.diary.lines.count("-") == 2, "what was opened is closed"
    with pytest.raises(NotRunningError):
        await rig.system.ref("slow").ask(Ping())


async def test_background_work_that_fails_is_a_crash(rig: Rig):
    """And that of the ended instance is cancelled, not counted against the next."""
    await rig.system.start(tree(rig.child("a")))
    await rig.ref("a").tell(Spawn())
    await rig.clock.advance(1)
    assert await rig.ref("a").ask(Ping()) == 2
    assert rig.events.names().count("actor-crashed") == 1


class Service:
    """A service that a test ends."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.over = anyio.Event()
        self.failure: Exception | None = None

    async def start(self) -> None:
        """Note it."""
        self.over = anyio.Event()
        self.failure = None
        self.diary.lines.append("+service")

    async def wait(self) -> None:
        """Until it is over."""
        await self.over.wait()
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        """Note it."""
        self.diary.lines.append("-service")
        self.over.set()


@pytest.mark.parametrize(("restart", "failed", "again"), [
    (Restart.PERMANENT, False, True), (Restart.TRANSIENT, False, False), (Restart.TRANSIENT, True, True),
    (Restart.TEMPORARY, True, False),
])  # fmt: skip
async def test_a_service_is_supervised_like_an_actor(rig: Rig, restart: Restart, failed: bool, again: bool):  # noqa: FBT001 - a table
    """Its end is normal or a failure, and its kind says whether it comes back."""
    services: list[Service] = []

    def make() -> Service:
        services.append(Service(rig.diary))
        return services[-1]

    await rig.system.start(tree(ChildSpec("s", make, {}, restart=restart)))
    if failed:
        services[0].failure = OSError("gone")
    services[0].over.set()
    await rig.clock.advance(1)
    assert rig.diary.lines.count("+service") == (2 if again else 1)
    await rig.system.stop("stopped")
    assert rig.diary.lines[-1] == "-service"
