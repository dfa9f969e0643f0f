"""The chaos run judges others; here its own judgement is put to the test, with every kind of evidence that convicts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from actors.queueing import states
from actors.queueing.records import New, Spec, Status, Took
from tests.chaos.history import History
from tests.chaos.judge import Evidence, Promise, judge
from tests.chaos.ledger import Effect, Ledger, apply_at, serve
from tests.chaos.plan import KILLED, TAKE_OVER_S, make_plan

pytestmark = pytest.mark.anyio


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_a_seed_is_a_plan():
    """The same seed gives the same blows, another one others."""
    assert make_plan(7, kills=24, pauses=8) == make_plan(7, kills=24, pauses=8)
    assert make_plan(7, kills=24, pauses=8) != make_plan(8, kills=24, pauses=8)


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_strikes_everyone(seed: int):
    """Twenty kills and more, everybody killed as often as anybody else, and a leader that sleeps long enough."""
    plan = make_plan(seed, kills=24, pauses=8)
    killed = Counter(fault.victim for fault in plan if fault.act == "kill")
    assert sum(killed.values()) == 24
    assert killed == dict.fromkeys(KILLED, 4)
    assert [fault.number for fault in plan] == list(range(1, 33))
    assert [(fault.act, fault.victim, fault.hold_s) for fault in plan[:2]] == [
        ("pause", "leader", TAKE_OVER_S),
        ("pause", "agent", TAKE_OVER_S),
    ]


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_an_effect_is_applied_once_and_a_zombie_is_refused():
    """A later attempt finds it applied; an earlier one that comes after it is refused; another effect is noticed."""
    ledger = Ledger()
    verdicts = [
        ledger.apply(Effect("t", token, value, "n")) for token, value in ((1, "a"), (3, "a"), (2, "a"), (4, "b"))
    ]
    assert verdicts == ["applied", "known", "refused", "changed"]
    assert (ledger.rows["t"].value, ledger.rows["t"].token) == ("a", 4)


async def test_the_ledger_answers_at_its_socket(tmp_path: Path):
    """One effect in, one verdict out; a caller that goes away mid-sentence harms nobody."""
    ledger = Ledger()
    async with anyio.create_task_group() as group:
        await group.start(serve, ledger, tmp_path / "s")
        with anyio.fail_after(5):
            async with await anyio.connect_unix(tmp_path / "s") as stream:
                await stream.send(b'{"task":')
            assert await apply_at(str(tmp_path / "s"), Effect("t", 1, "a", "n")) == "applied"
            assert await apply_at(str(tmp_path / "s"), Effect("t", 1, "a", "n")) == "known"
        group.cancel_scope.cancel()


# -- the log's history -------------------------------------------------------------------------------------------------

SPEC = Spec("t", "a", "p", b"\x80", 2, 0.0, 0.0, 3.0, 3, 1.0, 2.0, 300.0, 0.0, "", (), "", 3600.0, 0.0)
QUEUED = Status("queued", 1.0)
RUNNING = states.started(QUEUED, 2.0)
DONE = states.succeeded(RUNNING, 3.0, b"\x80", 1)


def history(*told: Status | Took) -> History:
    """A history of one task."""
    made = History()
    for seq, one in enumerate(told, 1):
        made.take(seq, [one if isinstance(one, Took) else New(SPEC, one)])
    return made


def test_an_ordinary_life_breaks_nothing():
    """Leaders, attempts, an end, and an end that compaction repeats."""
    told = history(Took(1, "a", 0.0), QUEUED, RUNNING, Took(2, "b", 0.0), DONE, Took(2, "b", 0.0), DONE)
    assert told.broken == []
    assert told.ends == {"t": DONE}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((DONE, RUNNING), "after its end"),
        ((DONE, states.cancelled(RUNNING, 4.0)), "cancelled .* after its end succeeded"),
        ((RUNNING, QUEUED), "attempt 0 of t after attempt 1"),
        ((Took(2, "a", 0.0), Took(2, "b", 0.0)), "b took epoch 2 after epoch 2"),
        ((Took(2, "a", 0.0), Took(1, "b", 0.0)), "b took epoch 1 after epoch 2"),
    ],
)
def test_what_must_never_be_is_found(told: tuple[Status | Took, ...], words: str):
    """A life after the end, a second end, an attempt or a leader that goes back."""
    [broken] = history(*told).broken
    assert re.search(words, broken)


# -- the judgement -----------------------------------------------------------------------------------------------------


def evidence() -> Evidence:
    """A task that was acknowledged, succeeded in its first attempt, and was told about."""
    ledger = Ledger()
    ledger.apply(Effect("t", 1, "x", "n"))
    view = ("succeeded", 1, "x")
    promise = Promise("t", acknowledged=True, told=[view])
    return Evidence(
        {"t": promise}, history(QUEUED, RUNNING, DONE), ledger, {"t": view}, Counter({"t": 1}), {"t": "succeeded"}
    )


def test_an_innocent_is_acquitted():
    """Nothing is found where nothing happened."""
    assert [finding for finding in judge(evidence()) if finding.broken] == []


def _lost(seen: Evidence) -> None:
    seen.views.clear()
    seen.projected = None


def _told_twice(seen: Evidence) -> None:
    seen.announced["t"] += 1


def _applied_never(seen: Evidence) -> None:
    seen.ledger.rows.clear()


def _overtaken(seen: Evidence) -> None:
    seen.ledger.apply(Effect("t", 2, "x", "n"))


def _other_effect(seen: Evidence) -> None:
    seen.ledger.apply(Effect("t", 1, "y", "n"))


def _unfinished(seen: Evidence) -> None:
    seen.views["t"] = ("running", 1, "x")
    seen.projected = None


def _wrong_end(seen: Evidence) -> None:
    seen.promises["t"].wanted = frozenset({"dead"})


def _unknown(seen: Evidence) -> None:
    seen.promises.clear()


def _contradicted(seen: Evidence) -> None:
    seen.promises["t"].told.append(("succeeded", 2, "x"))


def _not_projected(seen: Evidence) -> None:
    seen.projected = {}


def _ghost(seen: Evidence) -> None:
    seen.projected = {"t": "succeeded", "u": "dead"}


@pytest.mark.parametrize(
    ("crime", "name"),
    [
        (_lost, "0 acknowledged tasks lost"),
        (_told_twice, "0 effects applied twice"),
        (_applied_never, "0 effects applied twice"),
        (_overtaken, "0 effects applied twice"),
        (_other_effect, "0 effects applied twice"),
        (_unfinished, "every task in a final state"),
        (_wrong_end, "every task in a final state"),
        (_unknown, "every task in a final state"),
        (_contradicted, "what was told stays true"),
        (_not_projected, "projections equal the log"),
        (_ghost, "projections equal the log"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_crime_is_found(crime: Callable[[Evidence], None], name: str):
    """Each kind of broken promise is found under its name."""
    seen = evidence()
    crime(seen)
    assert name in [finding.name for finding in judge(seen) if finding.broken]
