"""The insight room: how well it finds what was put in, how it does on labelled data, and what it costs."""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

from tests.bench.figures import Benchmark, Figure
from tests.bench.machine import OtherLoad

if TYPE_CHECKING:
    from actors.insight.arrays import Flags, Floats

START = 1_700_006_400.0
_WARM_ROWS = 2000


def _run(quick: bool) -> list[Figure]:  # noqa: FBT001 - the harness calls it so
    load = OtherLoad()
    found = [*_accuracy(quick), *_shuttle(quick), *_ingest(quick), *_watching(quick), *_analyses(quick)]
    used = load.cores()
    return [Figure(name, value, unit, target, holds, (value,), used) for name, value, unit, target, holds in found]


Row = tuple[str, float, str, float | None, "Holds"]
if TYPE_CHECKING:
    from typing import Literal

    Holds = Literal[">=", "<="]


def _accuracy(quick: bool) -> list[Row]:  # noqa: FBT001 - as ``_run``
    """The self-check on its own seed, by kind too."""
    from actors.insight.selfcheck import SEED, measure, summary

    tallies = measure(SEED, 3 if quick else 20)
    whole = summary(tallies, SEED, time.time())
    rows: list[Row] = [
        ("VUS-PR of injections", whole.vus_pr, "", None, ">="),
        ("VUS-PR of a windowed Gaussian", whole.baseline_vus_pr, "", None, ">="),
        ("ours over the Gaussian's", whole.vus_pr / whole.baseline_vus_pr, "x", 1.5, ">="),
        ("precision", whole.precision, "", None, ">="),
        ("recall", whole.recall, "", 0.8, ">="),
        ("delay", whole.delay_points or 0.0, "min", 60.0, "<="),
        ("false alarms per series and day", whole.false_alarms_per_day, "", 0.5, "<="),
    ]
    for kind, tally in tallies.items():
        if tally.put:
            rows.append((f"recall, {kind}", tally.found / tally.put, "", None, ">="))
        if tally.delays:
            rows.append((f"delay, {kind}", statistics.median(tally.delays), "min", None, "<="))
        if tally.vus:
            rows.append((f"VUS-PR, {kind}", statistics.mean(ours for ours, _ in tally.vus), "", None, ">="))
            rows.append((f"VUS-PR, {kind}, Gaussian", statistics.mean(plain for _, plain in tally.vus), "", None, ">="))
    return rows


def _shuttle(quick: bool) -> list[Row]:  # noqa: FBT001 - as ``_run``
    """River's shipped Shuttle data, online: each row is scored before it is learned."""
    from actors.insight.rows import RowDetector
    from actors.insight.scoring import average_precision, roc_auc

    rows, labels = _shuttle_rows(10_000 if quick else 49_097)
    detector = RowDetector(rows.shape[1])
    began = time.perf_counter()
    scores = _scores(detector.update, rows)
    spent = (time.perf_counter() - began) / len(rows)
    late = slice(_WARM_ROWS, None)
    return [
        ("Shuttle, ROC AUC online", roc_auc(scores[late], labels[late]), "", 0.98, ">="),
        ("Shuttle, average precision", average_precision(scores[late], labels[late]), "", None, ">="),
        ("Shuttle, a row", spent * 1e6, "us", None, "<="),
    ]


def _shuttle_rows(count: int) -> tuple[Floats, Flags]:
    import numpy as np

    from actors.insight.libraries import shipped

    taken = shipped("Shuttle", count)
    return np.array([list(row.values()) for row, _ in taken], np.float64), np.array([bool(y) for _, y in taken])


def _scores(update: object, rows: Floats) -> Floats:
    import numpy as np

    assert callable(update)
    return np.array([update(row) for row in rows], np.float64)


def _ingest(quick: bool) -> list[Row]:  # noqa: FBT001 - as ``_run``
    """Points a second into 1000 series, in batches and one by one, and whether memory stays flat."""
    import numpy as np

    from actors.insight.store import SeriesStore

    store, rng = SeriesStore(), np.random.default_rng(1)
    for number in range(1000):
        store.register(f"a{number}/run_ms")
    count, rounds = 5000, 40 if quick else 400
    numbers, values = rng.integers(0, 1000, count), rng.exponential(1, count)
    tracemalloc.start()
    store.add_many(numbers, START + rng.uniform(0, 1, count), values, now=START + 1e9)
    first, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.perf_counter()
    for turn in range(rounds):
        store.add_many(numbers, START + 60 * turn + np.sort(rng.uniform(0, 60, count)), values, now=START + 1e9)
    batched = rounds * count / (time.perf_counter() - began)
    began = time.perf_counter()
    names = [f"a{number}/run_ms" for number in numbers]
    at = store.newest
    for name, value in zip(names, values.tolist(), strict=True):
        store.add(name, at, value, now=START + 1e9)
    single = (time.perf_counter() - began) / count
    return [
        ("ingest in batches", batched, "points/s", 50_000.0, ">="),
        ("ingest one by one", single * 1e6, "us", 20.0, "<="),
        ("store of 1000 series", store.bytes / 1e6, "MB", None, "<="),
        ("allocated by a batch and kept", first / 1e3, "kB", None, "<="),
    ]


def _watching(quick: bool) -> list[Row]:  # noqa: FBT001 - as ``_run``
    """A minute of one series through a detector."""
    import numpy as np

    from actors.insight.detector import Detector

    count = 4000 if quick else 20_000
    values = np.random.default_rng(2).normal(50, 1, count).tolist()
    detector = Detector("a/x")
    began = time.perf_counter()
    for minute, value in enumerate(values):
        detector.update(START + 60 * minute, value)
    return [("a minute of a series watched", (time.perf_counter() - began) / count * 1e6, "us", 100.0, "<=")]


def _analyses(quick: bool) -> list[Row]:  # noqa: FBT001 - as ``_run``
    """A survey of many series, and a forecaster of four weeks of hours."""
    import numpy as np

    from actors.insight.forecast import train_forecaster
    from actors.insight.survey import Snapshot, survey

    rng = np.random.default_rng(3)
    count = 20 if quick else 200
    names = [f"a{number}/x" for number in range(count)]
    taken = Snapshot(
        names, START, rng.normal(50, 1, (count, 1440)), START - 27 * 86_400, rng.normal(50, 1, (count, 672))
    )
    survey(taken)
    began = time.perf_counter()
    told = survey(taken)
    surveyed = time.perf_counter() - began
    began = time.perf_counter()
    train_forecaster("a/load", "load", 0.0, rng.poisson(100, 672).astype(np.float64), 3600.0, trained_at=1.0)
    return [
        ("survey, a series", surveyed / count * 1e3, "ms", 100.0, "<="),
        ("patterns told of pure noise, per series", len(told) / count, "", 0.1, "<="),
        ("forecaster trained", (time.perf_counter() - began) * 1e3, "ms", 1000.0, "<="),
    ]


BENCHMARK = Benchmark("insight", "patterns, anomalies, forecasts: accuracy on injections and Shuttle, and cost", _run)

if __name__ == "__main__":
    for figure in _run("--quick" in sys.argv):
        print(f"{figure.name:<44} {figure.value:>12.4g} {figure.unit:<9} {'' if figure.met else 'MISSED'}")
