"""``chimera demo``: stream labelled texts through a system and print what was measured."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import ChimeraError, OverloadedError
from subjects.agent import FEEDBACK, PREDICT

from .command import Command, Exit
from .output import emit_json, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from chimera.config import Settings

    from .client import Client
    from .dataset import Labelled


_FULL = 2.5
"""Hardly any mean rating lies beyond: it counts as the score 1."""


@dataclass(slots=True)
class Tally:
    """What came back."""

    latencies: list[float] = field(default_factory=list[float])
    scores: list[float] = field(default_factory=list[float])
    ratings: list[float] = field(default_factory=list[float])
    wrong_ids: int = 0
    lost: int = 0
    retried: int = 0
    errors: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Report:
    """The measured figures. Latencies in milliseconds; accuracy over texts whose rating has a sign."""

    texts: int
    answered: int
    lost: int
    wrong_job_ids: int
    retried_when_overloaded: int
    sign_accuracy: float
    judged: int
    correlation: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_second: float
    concurrency: int
    errors: dict[str, int]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set-name", choices=["tweets", "reviews"], default="tweets", help="which texts (default tweets)"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="a folder that has the texts (default: fetched into the cache)"
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only N texts, spread evenly")
    parser.add_argument("--concurrency", type=int, default=32, metavar="N", help="tasks in flight (default 32)")
    parser.add_argument(
        "--judge", action="store_true", help="also report how people rated each text, for evolution to learn from"
    )


def _run(options: argparse.Namespace) -> int:
    import anyio

    from chimera.node.runfile import read_run_file

    from .dataset import load

    texts = load(options.set_name, folder=Path(options.data) if options.data else None)
    texts = spread(texts, options.limit) if options.limit else texts
    settings = load_settings(options).settings
    running = bool(settings.nats.url) or read_run_file(settings.node.data) is not None
    work = _against_running if running else _against_own
    tally, seconds = anyio.run(work, options, settings, texts)
    report = _report(tally, len(texts), seconds, options.concurrency)
    if options.json:
        emit_json(asdict(report))
    else:
        table(("measured", "value"), _lines(report))
    return Exit.DONE if not report.lost and not report.wrong_job_ids else Exit.FAILED


def spread(texts: list[Labelled], count: int) -> list[Labelled]:
    """``count`` of the texts, at equal distances: the sets are not in random order, so the first ones mislead."""
    count = max(1, min(count, len(texts)))
    return [texts[number * len(texts) // count] for number in range(count)]


async def _against_running(options: Any, settings: Settings, texts: list[Labelled]) -> tuple[Tally, float]:
    from .client import connected

    note("using the system that runs here")
    async with connected(settings) as client:
        return await _stream(client, texts, options)


async def _against_own(options: Any, settings: Settings, texts: list[Labelled]) -> tuple[Tally, float]:
    """Nothing runs here: start a node in a temporary folder for as long as the demonstration takes."""
    from chimera.node import Node

    from .client import connected
    from .ports import LAYERS

    del settings
    note("nothing runs here: starting a system of its own for the demonstration")
    with tempfile.TemporaryDirectory(prefix="chimera-demo-") as folder:
        options.data_dir = folder
        options.set += ["nats.port=0", *(f"http.ports.{role}=0" for role in LAYERS)]
        own = load_settings(options).settings
        async with Node(own), connected(own) as client:
            return await _stream(client, texts, options)


async def _stream(client: Client, texts: list[Labelled], options: Any) -> tuple[Tally, float]:
    import anyio

    from .progress import progress

    tally = Tally()
    run = f"demo-{time.time_ns():x}"
    feed = iter(enumerate(texts))
    started = time.perf_counter()
    with progress(len(texts), "tasks") as advance:

        async def worker() -> None:
            for index, text in feed:
                if await _one(client, f"{run}-{index}", text, tally) and options.judge:
                    await _judge(client, f"{run}-{index}", text, tally)
                advance()

        async with anyio.create_task_group() as group:
            for _ in range(max(1, options.concurrency)):
                group.start_soon(worker)
    return tally, time.perf_counter() - started


async def _one(client: Client, job_id: str, text: Labelled, tally: Tally) -> bool:
    import anyio

    body = {"job_id": job_id, "agent": "sentiment", "input": {"text": text.text}}
    for _ in range(100):
        started = time.perf_counter()
        try:
            answer = await client.ask(PREDICT, body)
        except OverloadedError as error:
            tally.retried += 1
            await anyio.sleep(error.retry_after_s or 0.05)
            continue
        except ChimeraError as error:
            tally.errors[error.code] = tally.errors.get(error.code, 0) + 1
            break
        tally.latencies.append(time.perf_counter() - started)
        tally.wrong_ids += answer["job_id"] != job_id
        tally.scores.append(float(answer["output"]["compound"]))
        tally.ratings.append(text.rating)
        return True
    tally.lost += 1
    return False


async def _judge(client: Client, job_id: str, text: Labelled, tally: Tally) -> None:
    try:
        await client.ask(FEEDBACK, {"job_id": job_id, "score": max(-1.0, min(1.0, text.rating / _FULL))})
    except ChimeraError as error:
        tally.errors[error.code] = tally.errors.get(error.code, 0) + 1


def _report(tally: Tally, texts: int, seconds: float, concurrency: int) -> Report:
    from .dataset import NEUTRAL

    if len(tally.latencies) < 2:  # noqa: PLR2004 - quantiles need two
        raise ChimeraError(f"only {len(tally.latencies)} of {texts} texts were answered: {tally.errors}")
    cuts = statistics.quantiles(tally.latencies, n=100)
    judged = [(s, r) for s, r in zip(tally.scores, tally.ratings, strict=True) if abs(r) > NEUTRAL]
    right = sum((score > 0) == (rating > 0) and score != 0 for score, rating in judged)
    return Report(
        texts=texts,
        answered=len(tally.latencies),
        lost=tally.lost,
        wrong_job_ids=tally.wrong_ids,
        retried_when_overloaded=tally.retried,
        sign_accuracy=round(right / len(judged), 4) if judged else 0.0,
        judged=len(judged),
        correlation=round(statistics.correlation(tally.scores, tally.ratings), 4),
        p50_ms=round(cuts[49] * 1000, 2),
        p95_ms=round(cuts[94] * 1000, 2),
        p99_ms=round(cuts[98] * 1000, 2),
        per_second=round(len(tally.latencies) / seconds, 1),
        concurrency=concurrency,
        errors=tally.errors,
    )


def _lines(report: Report) -> list[tuple[str, str]]:
    errors = f", errors {report.errors}" if report.errors else ""
    return [
        (
            "answered",
            f"{report.answered} of {report.texts} texts, {report.retried_when_overloaded} after a retry{errors}",
        ),
        ("lost", f"{report.lost}, and {report.wrong_job_ids} with a wrong job_id"),
        ("accuracy", f"{report.sign_accuracy:.1%} of {report.judged} texts have the sign that people gave them"),
        ("correlation", f"{report.correlation:.3f} with the mean of the human ratings"),
        ("latency", f"p50 {report.p50_ms} ms, p95 {report.p95_ms} ms, p99 {report.p99_ms} ms"),
        ("throughput", f"{report.per_second:,.0f} tasks a second, {report.concurrency} in flight, over NATS"),
    ]


COMMAND = Command("demo", "stream labelled texts through the system and measure", "chimera demo", _arguments, _run)
