"""The closed list: codes, faces, and the way over the wire and back."""

from __future__ import annotations

import pytest

from chimera.errors import ERRORS, ChimeraError, DeadlineError, OverloadedError, flatten, from_problem
from subjects.problem import Problem


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_survives_its_wire_form(code: str):
    """Class, detail, hint, retry time, data and the word on retries come back."""
    error = ERRORS[code]("what happened", hint="do this", retry_after_s=1.5, data={"a": 1})
    error.executed = "no" if error.executed == "maybe" else "maybe"
    back = from_problem(error.problem())
    assert type(back) is type(error)
    assert back.problem() == error.problem()


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_error_explains_itself(code: str):
    """A title of its own, a status, an exit code; a server's fault is 5xx."""
    kind = ERRORS[code]
    assert kind.code == code
    assert kind.title()
    assert not kind.title().endswith(".")
    assert 400 <= kind.status < 600
    assert kind().detail == kind.title() or issubclass(kind, DeadlineError)
    assert 1 <= kind.exit_code <= 130


def test_an_unknown_code_is_not_lost():
    """A newer node's error becomes the base class, its code in the data, its word on retries kept."""
    back = from_problem(
        Problem(type="urn:x", title="New", status=500, detail="d", code="brand-new", executed="no", data={"k": 1})
    )
    assert type(back) is ChimeraError
    assert back.data == {"code": "brand-new", "k": 1}
    assert back.executed == "no"


def test_a_deadline_says_whether_the_work_may_have_run():
    """Only a message that still waited is safe to send again."""
    assert DeadlineError(stage="queued").executed == "no"
    assert DeadlineError(stage="running").executed == "maybe"
    assert DeadlineError(stage="sent").executed == "maybe"
    assert DeadlineError("d", stage="queued", data={"x": 1}).data == {"x": 1, "stage": "queued"}
    assert OverloadedError.executed == "no"


def test_an_unexpected_exception_is_one_line():
    """Type and text, whatever the text looks like."""
    assert flatten(ValueError("a\n  b")) == "ValueError: a b"
    assert flatten(KeyError()) == "KeyError"
