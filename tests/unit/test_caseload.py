"""Cases: which tasks breed and which validate, by what they are known, and that they come back as they were."""

from __future__ import annotations

import pytest

from actors.breeding.caseload import FEWEST, of_recorder, of_request, pack_split, unpack_split
from actors.breeding.cases import VALIDATION, LabelledTask, recorded_cases, supplied_cases
from actors.breeding.portions import INPUT_BYTES, cut
from actors.refining.recorded import Recorder, part_of
from chimera.errors import BadMessageError, CorruptError
from subjects.event import TaskJudged, TaskProcessed
from subjects.evolution import Case
from tests.support.examining import cases_of, split_of


def recorder_of(count: int, *, judged: bool = True, redacted: int = 0) -> Recorder:
    """Tasks whose text is one of 100; the first ones without their input."""
    recorder = Recorder()
    for n in range(count):
        record = TaskProcessed(
            job_id=f"j{n}", agent="echo", release=1, task="predict", outcome="ok", at=float(n), queue_ms=0.0,
            run_ms=1.0, cpu_ms=1.0, memory_bytes=0, node="one", variant="live", key="", output={},
            input=None if n < redacted else {"text": f"text {n % 100}"},
        )  # fmt: skip
        recorder.take(n + 1, record, 100)
        if judged:
            verdict = TaskJudged(
                job_id=f"j{n}", agent="echo", release=1, at=float(n), label="up", score=1.0, predicted_label=None,
                predicted_score=None, correct=None,
            )  # fmt: skip
            recorder.judge(5000 + n, verdict)
    return recorder


def inputs(cases: tuple[LabelledTask, ...]) -> set[str]:
    """Their texts."""
    return {case.input["text"] for case in cases}


def test_what_came_twice_is_never_on_both_sides():
    """Training and validation have no input in common, though the same texts come again and again."""
    found = of_recorder(recorder_of(2000), "echo", needs=("label",), most=1000)
    assert inputs(found.train.cases).isdisjoint(inputs(found.validation.cases))
    assert len(found.validation) / (len(found.train) + len(found.validation)) == pytest.approx(VALIDATION, abs=0.1)


def test_the_gates_half_stays_with_the_gate():
    """No recorded task that the gate may judge a candidate by is bred on or validates."""
    found = of_recorder(recorder_of(2000), "echo", needs=("label",), most=1000)
    keys = [case.key for side in (found.train, found.validation) for case in side.cases]
    assert {part_of(key) for key in keys} == {"tune"}


def test_tasks_without_input_are_left_out():
    """What was redacted or not kept can't be run again."""
    recorder = recorder_of(600, redacted=300)
    assert all(case.seq > 300 for case in recorded_cases(recorder.tasks("echo")))
    found = of_recorder(recorder, "echo", needs=("label",), most=1000)
    assert found.window.first > 300
    assert found.window.last <= 600
    assert found.window.source == "recorded"


def test_too_few_tasks_are_refused():
    """A search on a handful of tasks would follow chance; unjudged ones do not count where a judge is needed."""
    with pytest.raises(BadMessageError, match=f"at least {FEWEST}"):
        of_request(cases_of(30), most=100)
    with pytest.raises(BadMessageError):
        of_recorder(recorder_of(1000, judged=False), "echo", needs=("label",), most=100)
    assert len(of_recorder(recorder_of(1000, judged=False), "echo", most=100).train) == 100


def test_the_newest_are_taken():
    """Where there are more than wanted, the last ones count, on both sides."""
    found = of_recorder(recorder_of(2000), "echo", needs=("label",), most=50)
    assert len(found.train) == 50
    assert len(found.validation) == round(50 * VALIDATION / (1 - VALIDATION))
    assert found.window.first > 1500


def test_a_supplied_case_counts_once():
    """The same input with the same answer again tells nothing new; another answer does."""
    case = Case(input={"text": "a"}, label="up")
    assert len(supplied_cases([case, case, Case(input={"text": "a"}, label="down")])) == 2


def test_the_digest_names_the_cases():
    """The same cases have the same digest in every process; another label, score, input or order has another."""
    one = split_of(200)
    assert one.window == split_of(200).window
    assert one.window.source == "supplied"
    changed = [*cases_of(199), Case(input={"text": "text 199"}, label="down", score=3.0)]
    assert of_request(changed, most=1000).window.digest != one.window.digest
    assert of_request(cases_of(200)[::-1], most=1000).window.digest != one.window.digest


def test_cases_come_back_as_they_were_or_not_at_all():
    """Kept cases are known by their digest; any bit that flipped is found."""
    split = split_of(200)
    data = pack_split(split)
    assert unpack_split(data, split.window.digest) == split
    for place in range(0, len(data), 97):
        flipped = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        with pytest.raises(CorruptError):
            unpack_split(flipped, split.window.digest)
    with pytest.raises(CorruptError):
        unpack_split(data[:-5], split.window.digest)


def test_portions_fit_a_request():
    """Each portion is of one task, within its number and bytes, and nothing is lost or moved."""
    big = [Case(input={"text": f"{n} " + "x" * 50_000}) for n in range(120)]
    caseload = of_request(big, most=100).train
    places = list(reversed(range(len(caseload))))
    portions = list(cut(caseload, places, 1000))
    assert [place for _, portion in portions for place in portion] == places
    assert len(portions) > 5
    assert all(sum(caseload.cases[place].size for place in portion) <= INPUT_BYTES for _, portion in portions)
    assert max(len(portion) for _, portion in cut(split_of().train, range(100), 16)) == 16
