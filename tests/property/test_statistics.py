"""Rolling figures against the plain definition."""

import math

from hypothesis import given
from hypothesis import strategies as st

from actors.execution.statistics import Accuracy, TaskWindow, nearest_rank


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_nearest_rank_is_the_definition(values: list[float], quantile: float) -> None:
    """At least the quantile's share is at or below the value, and the next smaller one would be too few."""
    ordered = sorted(values)
    found = nearest_rank(ordered, quantile)
    assert found == ordered[math.ceil(quantile * len(ordered)) - 1]


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=60))
def test_the_window_holds_the_last_tasks(tasks: list[tuple[float, bool]]) -> None:
    """Rates cover the last ten tasks, totals all of them."""
    window = TaskWindow(10)
    for seconds, ok in tasks:
        window.add(seconds, ok=ok)
    figures, last = window.figures(), tasks[-10:]
    assert (figures.window, figures.tasks_total) == (len(last), len(tasks))
    assert figures.errors_total == sum(not ok for _, ok in tasks)
    assert figures.p50_s == nearest_rank(sorted(seconds for seconds, _ in last), 0.5)
    assert figures.error_rate == (sum(not ok for _, ok in last) / len(last) if last else None)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_accuracy_counts_the_latest_verdict_of_recent_jobs(verdicts: list[tuple[str, bool]]) -> None:
    """As a plain ordered dictionary of the last five jobs would."""
    accuracy, plain = Accuracy(5), dict[str, bool]()
    for job, correct in verdicts:
        accuracy.add(job, correct=correct)
        plain.pop(job, None)
        plain[job] = correct
        if len(plain) > 5:
            del plain[next(iter(plain))]
    assert accuracy.judged == len(plain)
    assert accuracy.share == (sum(plain.values()) / len(plain) if plain else None)
