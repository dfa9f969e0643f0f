"""Every store keeps the contract; a new backend adds its name to ``BACKENDS`` and its way to ``factory``."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace as replace_fields

from chimera.store import MeasureFilter, OutcomeFilter, Remembered, Store, Tally, open_store
from subjects.agent import AgentView, Candidate, Limits, Manifest, Parameter, Release
from subjects.event import Outcome, TaskJudged, TaskProcessed
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.anyio

Factory = Callable[[Path], Store]
BACKENDS = {"sqlite": "power", "sqlite-wear": "wear", "postgres": "power", "postgres-wear": "wear"}
"""Name of a backend to the durability it is opened with."""


@pytest.fixture(params=list(BACKENDS))
async def factory(request: pytest.FixtureRequest) -> Factory:
    """One backend: opens this test's store, as often as it likes."""
    durability, url = BACKENDS[request.param], ""
    if request.param.startswith("postgres"):
        server: PostgresServer = request.getfixturevalue("postgres")
        url = await server.new_schema()
    return lambda folder: open_store(url, folder, durability)


@pytest.fixture
async def store(factory: Factory, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store."""
    async with factory(tmp_path) as opened:
        yield opened


def outcome(job_id: str = "job", *, at: float = 100.0, agent: str = "sentiment", kind: Outcome = "ok") -> TaskProcessed:
    """An outcome with every field set."""
    return TaskProcessed(
        job_id=job_id, agent=agent, release=1, task="predict", outcome=kind, at=at, queue_ms=0.5, run_ms=1.25,
        cpu_ms=1.0, memory_bytes=65_536, node="n", variant="candidate", key="k", detail="é", input={"text": "hi"},
        output={"label": "positive", "deep": [1, {"x": None}]},
    )  # fmt: skip


def release(number: int, note: str = "") -> Release:
    """A release with a genome."""
    manifest = Manifest(name="sentiment", genome=[Parameter(name="alpha", low=0.0, high=1.0, default=0.5)])
    return Release(
        agent="sentiment", number=number, digest=f"{number:064x}", manifest=manifest,
        genome={"alpha": 0.5, "v": [1.0, 2.0]}, limits=Limits(cpu_ms=5), parent=number - 1 or None,
        created_at="2026-01-01T00:00:00Z", created_by="me", note=note,
    )  # fmt: skip


def view(*releases: Release, live: int = 1, candidate: Candidate | None = None) -> AgentView:
    """An agent with these releases."""
    return AgentView(
        name="sentiment", state="live", live=live, candidate=candidate, previous=None, releases=list(releases)
    )


async def test_agent_comes_back_as_it_was_saved(store: Store):
    """An agent with its candidate and releases survives the way through the store unchanged."""
    saved = view(release(1), release(2), candidate=Candidate(release=2, share=0.25))
    await store.save_agent(saved)
    assert await store.agents() == [saved]
    assert await store.release("sentiment", 2) == release(2)
    assert await store.release("sentiment", 3) is None
    assert await store.release("nobody", 1) is None


async def test_releases_are_immutable_and_pointers_move(store: Store):
    """Saving again moves the pointers and adds releases, but never changes a release that is there."""
    await store.save_agent(view(release(1)))
    await store.save_agent(view(release(1, note="forged"), release(2), live=2))
    [found] = await store.agents()
    assert found.live == 2
    assert [one.note for one in found.releases] == ["", ""]
    assert [one.number for one in found.releases] == [1, 2]


async def test_saving_fewer_releases_forgets_none(store: Store):
    """A view with only the newest release leaves the older ones on record."""
    await store.save_agent(view(release(1), release(2)))
    await store.save_agent(view(release(3), live=3))
    assert [one.number for one in (await store.agents())[0].releases] == [1, 2, 3]


async def test_outcomes_count_once(store: Store):
    """A repeated sequence is ignored, also within one batch, and the number of new ones is told."""
    assert await store.save_outcomes([(1, outcome("a")), (2, outcome("b"))], stream="KPI") == 2
    assert await store.save_outcomes([(2, outcome("b")), (3, outcome("c")), (3, outcome("c"))], stream="KPI") == 1
    assert len(await store.outcomes(OutcomeFilter())) == 3
    assert await store.position("KPI") == 3


async def test_streams_have_their_own_sequences(store: Store):
    """The same sequence of another stream is another record."""
    await store.save_outcomes([(1, outcome("a"))], stream="KPI")
    assert await store.save_outcomes([(1, outcome("b"))], stream="KPI2") == 1
    assert (await store.position("KPI"), await store.position("KPI2"), await store.position("none")) == (1, 1, 0)


async def test_position_never_goes_back_by_late_batches(store: Store):
    """An older batch that comes late is stored, and the position stays where it was."""
    await store.save_outcomes([(10, outcome("late"))], stream="KPI")
    assert await store.save_outcomes([(4, outcome("early"))], stream="KPI") == 1
    assert await store.position("KPI") == 10


async def test_empty_batch_is_nothing(store: Store):
    """No outcomes, no change."""
    assert await store.save_outcomes([], stream="KPI") == 0
    assert await store.position("KPI") == 0


async def test_outcome_comes_back_as_it_was_saved(store: Store):
    """The newest outcome of a job, every field as it was."""
    await store.save_outcomes([(1, outcome(at=5.0)), (2, outcome(at=9.0)), (3, outcome(at=7.0))], stream="KPI")
    assert await store.outcome("job") == outcome(at=9.0)
    assert await store.outcome("other") is None


async def test_outcome_without_documents(store: Store):
    """An outcome whose input was not recorded and that gave no output has neither, not an empty one."""
    bare = TaskProcessed(
        job_id="x", agent="a", release=1, task="predict", outcome="agent-trap", at=1.0, queue_ms=0, run_ms=0, cpu_ms=0,
        memory_bytes=0, node="n",
    )  # fmt: skip
    await store.save_outcomes([(1, bare)], stream="KPI")
    assert await store.outcome("x") == bare


@pytest.mark.parametrize(
    ("where", "jobs"),
    [
        (OutcomeFilter(), ["d", "c", "b", "a"]),
        (OutcomeFilter(agent="echo"), ["d"]),
        (OutcomeFilter(outcome="agent-trap"), ["c"]),
        (OutcomeFilter(release=2), []),
        (OutcomeFilter(since=2.0, until=4.0), ["c", "b"]),
        (OutcomeFilter(limit=2), ["d", "c"]),
        (OutcomeFilter(limit=2, offset=1), ["c", "b"]),
        (OutcomeFilter(agent="sentiment", outcome="ok", since=2.0), ["b"]),
        (OutcomeFilter(agent="' OR 1=1 --"), []),
    ],
)
async def test_outcomes_by_filter_newest_first(store: Store, where: OutcomeFilter, jobs: list[str]):
    """Each field of the filter narrows, alone and together; the order is by time, newest first."""
    rows = [
        (1, outcome("a", at=1.0)), (2, outcome("b", at=2.0)), (3, outcome("c", at=3.0, kind="agent-trap")),
        (4, outcome("d", at=4.0, agent="echo")),
    ]  # fmt: skip
    await store.save_outcomes(rows, stream="KPI")
    assert [one.job_id for one in await store.outcomes(where)] == jobs


async def test_mark_only_rises(store: Store):
    """The high-water mark never falls by a lower mark, and outcomes raise it too."""
    await store.mark("KPI", 50)
    await store.mark("KPI", 20)
    assert await store.high_water("KPI") == 50
    await store.save_outcomes([(60, outcome())], stream="KPI")
    assert (await store.high_water("KPI"), await store.position("KPI")) == (60, 60)


async def test_new_generation_counts_sequences_anew(store: Store):
    """After a stream went back, the sequences it uses again are new records, and those that stayed are still known."""
    await store.save_outcomes([(seq, outcome(f"old-{seq}")) for seq in range(1, 6)], stream="KPI")
    await store.mark("KPI", 3, generation="second")
    assert (await store.high_water("KPI"), await store.position("KPI")) == (3, 3)
    again = [(seq, outcome(f"new-{seq}")) for seq in (3, 4, 5)]
    assert await store.save_outcomes(again, stream="KPI") == 2
    assert await store.outcome("new-3") is None
    assert await store.outcome("new-4") is not None
    assert await store.outcome("old-5") is not None
    await store.mark("KPI", 1, generation="second")
    assert await store.high_water("KPI") == 5


async def test_a_second_node_that_saw_the_same_loss_changes_nothing(store: Store):
    """Two nodes see a stream go back; the one that tells it later does not begin another generation."""
    await store.save_outcomes([(seq, outcome(f"old-{seq}")) for seq in (1, 2, 3)], stream="KPI")
    await store.mark("KPI", 2, generation="of the first node")
    await store.mark("KPI", 2, generation="of the second node")
    assert await store.save_outcomes([(2, outcome("old-2")), (3, outcome("new-3"))], stream="KPI") == 1
    await store.mark("KPI", 3, generation="of the third node")
    assert await store.save_outcomes([(3, outcome("new-3"))], stream="KPI") == 0


async def test_what_the_wire_can_carry_can_be_stored(store: Store):
    """A NUL in a text and an integer beyond 64 bits come back readable instead of blocking what comes after them."""
    wild = replace_fields(outcome(), detail="a\0b", memory_bytes=1 << 64, input={"text": "\0", "big": 1 << 70})
    assert await store.save_outcomes([(1, wild), (2, outcome("next"))], stream="KPI") == 2
    found = await store.outcome("job")
    assert found is not None
    assert found.detail in {"a\0b", "a\ufffdb"}
    assert found.memory_bytes == (1 << 63) - 1
    assert found.input == wild.input


async def test_feedback_is_stored(store: Store):
    """Feedback with and without a verdict is taken, and a repeat is no error."""
    for correct in (True, None, False):
        judged = TaskJudged(job_id="j", agent="a", release=1, at=5.0, label="x", score=0.5, correct=correct)
        await store.save_judgement(judged)
        await store.save_judgement(judged)
    assert store.statistics().errors == 0


async def test_settings_are_json(store: Store):
    """A setting is any JSON value; the last one wins; an unknown one is None."""
    await store.set_setting("batching", {"batch_size": 8, "list": [1, None, "é"]})
    await store.set_setting("batching", {"batch_size": 9})
    await store.set_setting("off", value=False)
    assert await store.setting("batching") == {"batch_size": 9}
    assert await store.setting("off") is False
    assert await store.setting("none") is None


async def test_answers_are_remembered_until_they_are_old(store: Store):
    """A remembered answer comes back whole, and goes when a later one finds it older than it may be."""
    entry = Remembered(key="k1", body_digest="d", status=201, body=b"\x00\xff{}", at=1000.0)
    await store.remember(entry, keep_s=60)
    assert await store.remembered("k1") == entry
    await store.remember(replace(entry, key="k2", at=1059.0), keep_s=60)
    assert await store.remembered("k1") == entry
    await store.remember(replace(entry, key="k3", at=1061.0), keep_s=60)
    assert await store.remembered("k1") is None
    assert await store.remembered("k2") is not None


async def test_forget_takes_only_what_is_older(store: Store):
    """Outcomes before the time go, the others stay, the position does not move."""
    await store.save_outcomes([(seq, outcome(f"j{seq}", at=float(seq))) for seq in range(1, 7_001)], stream="KPI")
    assert await store.forget(outcomes_before=6_000.0) == 5_999
    assert len(await store.outcomes(OutcomeFilter(limit=5_000))) == 1_001
    assert await store.position("KPI") == 7_000
    assert await store.forget(outcomes_before=6_000.0) == 0


async def test_everything_is_there_after_reopening(factory: Factory, tmp_path: Path):
    """What one run saved the next one finds; opening a second time migrates nothing away."""
    async with factory(tmp_path) as store:
        await store.save_agent(view(release(1)))
        await store.save_outcomes([(7, outcome())], stream="KPI")
        await store.set_setting("x", 1)
    async with factory(tmp_path) as store:
        assert await store.agents() == [view(release(1))]
        assert await store.outcome("job") == outcome()
        assert (await store.position("KPI"), await store.high_water("KPI")) == (7, 7)
        assert await store.setting("x") == 1
        assert await store.save_outcomes([(7, outcome())], stream="KPI") == 0


async def test_many_callers_at_once(store: Store):
    """A hundred callers write at once and each is answered with its own result."""
    results: dict[int, int] = {}

    async def save(seq: int) -> None:
        results[seq] = await store.save_outcomes([(seq % 50, outcome(f"j{seq % 50}"))], stream="KPI")

    async with anyio.create_task_group() as group:
        for seq in range(100):
            group.start_soon(save, seq)
    assert sum(results.values()) == 50
    assert len(await store.outcomes(OutcomeFilter())) == 50


async def test_the_position_survives_callers_in_any_order(store: Store):
    """Writers of one stream overtake each other, and its position and mark end at the highest sequence all the same."""
    for turn in range(5):
        async with anyio.create_task_group() as group:
            for seq in range(20, 0, -1):
                number = turn * 20 + seq
                saving = partial(store.save_outcomes, [(number, outcome(f"j{number}"))], stream="KPI")
                group.start_soon(saving)
        assert (await store.position("KPI"), await store.high_water("KPI")) == ((turn + 1) * 20, (turn + 1) * 20)


async def test_check_and_statistics(store: Store):
    """A healthy store says ok from a real write, and its counters move."""
    before = store.statistics()
    assert await store.check() == "ok"
    await store.setting("x")
    after = store.statistics()
    assert (after.writes - before.writes, after.reads - before.reads, after.errors) == (1, 1, 0)
    assert after.size_bytes > 0
    assert after.queued == 0


async def test_figures_are_those_of_the_window(store: Store):
    """Figures come oldest first, of the agent and window asked for, with the verdict where somebody judged."""
    other = outcome("other", at=101.5, agent="echo")
    rows = [*(outcome(f"j{number}", at=100.0 + number) for number in range(4)), other]
    rows[2] = outcome("j2", at=102.0, kind="agent-trap")
    await store.save_outcomes(list(enumerate(rows, 1)), stream="KPI")
    await store.save_judgement(TaskJudged(job_id="j1", agent="sentiment", release=1, at=110.0, correct=False))
    await store.save_judgement(TaskJudged(job_id="j3", agent="sentiment", release=1, at=110.0, score=0.5))
    found = await store.measured(MeasureFilter(since=101.0, until=103.0))
    assert [(one.agent, one.at, one.ok, one.correct) for one in found] == [
        ("sentiment", 101.0, True, False), ("echo", 101.5, True, None), ("sentiment", 102.0, False, None),
    ]  # fmt: skip
    assert (found[0].queue_ms, found[0].run_ms, found[0].cpu_ms) == (0.5, 1.25, 1.0)
    mine = await store.measured(MeasureFilter(since=0.0, until=1e9, agent="sentiment", limit=2))
    assert [one.at for one in mine] == [100.0, 101.0]


async def test_a_stride_takes_every_nth(store: Store):
    """One of n rows, from all over the window, without repeats."""
    await store.save_outcomes([(n, outcome(f"j{n}", at=float(n))) for n in range(1, 101)], stream="KPI")
    found = [one.at for one in await store.measured(MeasureFilter(since=0.0, until=1e9, stride=10))]
    assert len(found) == 10
    assert [later - earlier for earlier, later in itertools.pairwise(found)] == [10.0] * 9


async def test_tallies_are_exact(store: Store):
    """Counts and sums per agent over a window that leaves its end out; nothing there = no row."""
    rows = [outcome("a"), outcome("b", kind="shed"), outcome("c", agent="echo"), outcome("late", at=200.0)]
    await store.save_outcomes(list(enumerate(rows, 1)), stream="KPI")
    await store.save_judgement(TaskJudged(job_id="a", agent="sentiment", release=1, at=110.0, correct=True))
    await store.save_judgement(TaskJudged(job_id="b", agent="sentiment", release=1, at=110.0, correct=False))
    assert await store.tally(100.0, 200.0) == [
        Tally("echo", 1, 0, 0.5, 1.25, 1.0, 0, 0), Tally("sentiment", 2, 1, 1.0, 2.5, 2.0, 2, 1),
    ]  # fmt: skip
    assert await store.tally(300.0, 400.0) == []
