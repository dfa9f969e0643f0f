"""The gate: stages, ramps, promotion, harm, persons, and that the log alone says it all."""

from __future__ import annotations

import msgspec
import pytest

from actors.gating.records import Applied, Entered, Entry, Exhausted, Row, Ruled, Seen, pack, unpack
from actors.gating.trial import Trial
from subjects.experiment import Decision, Mode
from tests.support.gating import PLAN, Split, Tally, opened, trial


def pairs(count: int, live: float = 0.0, tried: float = 0.0, *, failed: float = 0.0, candidate: int = 1) -> list[Row]:
    """Messages that both answered."""
    return [Row(candidate, [live, 0.0], [tried, failed])] * count


def seen(rows: list[Row], stage: Mode = "replay", kpi: int = 0) -> Seen:
    """A batch of messages."""
    return Seen(id="e-1", at=101.0, stage=stage, rows=rows, kpi=kpi, events=0)


def enter(one: Trial) -> None:
    """Put the wanted step in force."""
    step = one.step()
    assert step is not None
    one.apply(Entered(id="e-1", at=101.0, stage=step.stage, share=step.share))


def decide(one: Trial, at: float = 102.0) -> Decision:
    """Take the decision that is due and put it in force."""
    found = one.decide(at)
    assert found is not None
    one.apply(Ruled(id="e-1", decision=found[0], evidence=found[1]))
    one.apply(Applied(id="e-1", at=at, number=found[0].number, ok=True))
    return found[0]


def in_split(plan_candidates: tuple[int, ...] = (2,)) -> Trial:
    """An experiment whose replay found nothing."""
    one = trial(plan_candidates)
    enter(one)
    one.apply(Exhausted(id="e-1", at=101.0))
    enter(one)
    assert (one.stage, one.share) == ("split", 0.25)
    return one


def test_a_better_candidate_passes_every_stage_and_is_promoted() -> None:
    """Replay proves it, the split confirms that nothing breaks, then it goes live: one decision with its evidence."""
    one = trial()
    enter(one)
    assert (one.stage, one.share, one.decide(101.0)) == ("replay", 0.0, None)
    one.apply(seen(pairs(6, tried=1.0)))
    assert one.decide(101.0) is None
    enter(one)
    assert (one.stage, one.share) == ("split", 0.25)
    one.apply(seen([Row(1, [], [0.0, 0.0]), Row(0, [0.0, 0.0], [])] * 4, "split"))
    assert one.decide(101.0) is None, "too few messages of its own yet"
    one.apply(seen([Row(1, [], [0.0, 0.0])], "split"))
    decision = decide(one)
    assert (decision.verdict, decision.release, one.state) == ("promote", 2, "promoted")
    assert decision.e_value >= 1 / decision.level


def test_evidence_of_the_stages_multiplies() -> None:
    """What replay left open the split can decide: the messages of the stages are disjoint."""
    one = trial()
    enter(one)
    one.apply(seen(pairs(3, tried=1.0)))
    one.apply(Exhausted(id="e-1", at=101.0))
    enter(one)
    one.apply(seen([Row(1, [], [0.0, 0.0])] * 5 + [Row(0, [0.0, 0.0], [])] * 15, "split"))
    assert one.decide(101.0) is None
    one.apply(seen([Row(1, [], [1.0, 0.0])] * 2 + [Row(0, [0.0, 0.0], [])] * 4, "split"))
    assert decide(one).verdict == "promote"


def test_a_broken_guardrail_rolls_back_however_good_the_primary_is() -> None:
    """Harm goes first; the reason names the guardrail and its figures."""
    one = trial()
    enter(one)
    one.apply(seen(pairs(20, tried=1.0, failed=1.0)))
    decision = decide(one)
    assert (decision.verdict, one.state) == ("roll-back", "rolled-back")
    assert "failed" in decision.reason


def test_a_worse_candidate_is_rolled_back() -> None:
    """Enough evidence that the primary metric fell ends it."""
    one = trial()
    enter(one)
    one.apply(seen(pairs(6, live=1.0)))
    assert "worse" in decide(one).reason
    assert one.state == "rolled-back"


def test_the_ramp_follows_the_candidates_own_messages() -> None:
    """More traffic only after the step's messages were seen at the present share."""
    one = in_split()
    one.apply(seen([Row(1, [], [0.0, 0.0])] * 9 + [Row(0, [0.0, 0.0], [])] * 27, "split"))
    assert one.step() is None
    one.apply(seen([Row(1, [], [0.0, 0.0])], "split"))
    enter(one)
    assert one.share == 0.5


def test_no_evidence_either_way_ends_without_a_change() -> None:
    """The message limit and the time limit end an experiment as inconclusive."""
    one = in_split()
    one.apply(seen([Row(1, [], [0.0, 0.0])] * 100 + [Row(0, [0.0, 0.0], [])] * 300, "split"))
    assert decide(one).verdict == "give-up"
    assert one.state == "inconclusive"
    late = in_split()
    assert late.decide(100.0 + PLAN.max_s - 1) is None
    assert "undecided after" in decide(late, 100.0 + PLAN.max_s).reason


def test_traffic_that_is_not_split_as_intended_ends_the_experiment() -> None:
    """A sample-ratio mismatch makes every other figure worthless."""
    one = in_split()
    one.apply(seen([Row(1, [], [1.0, 0.0])] * 30, "split"))
    assert "sample ratio" in decide(one).reason
    assert one.state == "rolled-back"


def test_of_several_candidates_the_best_goes_into_the_split() -> None:
    """Levels are shared; a bad one drops out alone; only one gets live traffic."""
    one = trial((2, 3, 4))
    enter(one)
    one.apply(seen([*pairs(8, live=1.0), *pairs(4, tried=1.0, candidate=2), *pairs(2, tried=1.0, candidate=3)]))
    assert decide(one).release == 2
    assert [release for _, release in one.active] == [3, 4]
    one.apply(Exhausted(id="e-1", at=101.0))
    enter(one)
    assert [release for _, release in one.active] == [3]
    one.apply(seen([Row(2, [], [1.0, 0.0])] * 5 + [Row(0, [0.0, 0.0], [])] * 15, "split"))
    decision = decide(one)
    assert (decision.verdict, decision.release) == ("promote", 3)
    assert decision.level == pytest.approx(opened().level / 3)


def test_a_promotion_that_needs_approval_waits_and_harm_does_not() -> None:
    """The gate waits for a person to promote, and for nobody to roll back."""
    plan = msgspec.structs.replace(PLAN, stages=["shadow"], approve=True)
    one = trial(plan=plan)
    enter(one)
    one.apply(seen(pairs(6, tried=1.0), "shadow"))
    assert one.decide(102.0) is None
    assert one.waits_for_approval
    decision, evidence = one.decide_otherwise("promote", "ann", "by hand: looks good", 103.0)
    one.apply(Ruled(id="e-1", decision=decision, evidence=evidence))
    one.apply(Applied(id="e-1", at=103.0, number=0, ok=True))
    assert (one.state, decision.by, decision.release) == ("promoted", "ann", 2)
    other = trial(plan=plan)
    enter(other)
    other.apply(seen(pairs(6, live=1.0), "shadow"))
    assert decide(other).verdict == "roll-back"


def test_a_person_stops_an_experiment() -> None:
    """Stopped by hand is its own end, with the name and the note."""
    one = in_split()
    decision, evidence = one.decide_otherwise("give-up", "ann", "by hand: enough", 103.0)
    one.apply(Ruled(id="e-1", decision=decision, evidence=evidence))
    assert one.pending is not None
    assert one.step() is None
    one.apply(Applied(id="e-1", at=103.0, number=0, ok=True))
    assert (one.state, one.view().decisions[0].reason) == ("stopped", "by hand: enough")


def test_a_decision_that_cannot_be_put_in_force_fails_the_experiment() -> None:
    """Somebody changed the agent meanwhile: the gate does not insist."""
    one = in_split()
    decision, evidence = one.decide_otherwise("promote", "ann", "by hand", 103.0)
    one.apply(Ruled(id="e-1", decision=decision, evidence=evidence))
    one.apply(Applied(id="e-1", at=103.0, number=0, ok=False, detail="release 5 is live, not 1"))
    assert one.state == "failed"


def test_the_log_alone_gives_the_same_experiment() -> None:
    """Packed, unpacked and folded again, every figure is the same to the last digit."""
    one, log = trial(), list[bytes]()

    def take(entry: Entry) -> None:
        log.append(pack(entry))
        one.apply(entry)

    take(Entered(id="e-1", at=101.0, stage="replay", share=0.0))
    take(seen(pairs(3, tried=1.0), kpi=17))
    take(Exhausted(id="e-1", at=101.0))
    take(Entered(id="e-1", at=101.5, stage="split", share=0.25))
    take(seen([Row(1, [], [1.0, 1.0])] * 7 + [Row(0, [1.0, 0.0], [])] * 20, "split", kpi=40))
    found = one.decide(102.0)
    if found is not None:
        take(Ruled(id="e-1", decision=found[0], evidence=found[1]))
    again = Trial(opened(), Tally, Split)
    for data in log:
        again.apply(unpack(data))
    assert again.view() == one.view()
    assert again.cursor == (40, 0)
    assert again.pending == one.pending
    assert one.view().harmed == 7


def test_what_changed_is_named_with_all_metrics_looked_at_together() -> None:
    """An e-value of 32 is found among two metrics at 5 % only beside another such one; alone it takes 40."""
    one = trial()
    enter(one)
    one.apply(seen(pairs(5, tried=1.0)))
    assert one.view().variants[0].primary.e_better == 32.0
    assert (one.view().variants[0].better, one.view().variants[0].worse) == ([], [])
    one.apply(seen(pairs(1, tried=1.0)))
    assert one.view().variants[0].better == ["correct"]
    both = trial()
    enter(both)
    both.apply(seen([Row(1, [0.0, 1.0], [1.0, 0.0])] * 5))
    assert both.view().variants[0].better == ["correct", "failed"]
    harmful = trial()
    enter(harmful)
    harmful.apply(seen(pairs(8, failed=1.0)))
    assert harmful.view().variants[0].worse == ["failed"]


def test_evidence_for_any_candidate_is_the_mean_of_theirs() -> None:
    """Two candidates on the same messages: 16 and 1 are 8.5 for "one of them is better", whatever they share."""
    one = trial((2, 3))
    enter(one)
    one.apply(seen([*pairs(4, tried=1.0), *pairs(4, candidate=2)]))
    assert [variant.e_total for variant in one.view().variants] == [16.0, 1.0]
    assert one.view().e_any == 8.5
