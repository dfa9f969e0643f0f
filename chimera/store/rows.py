"""Between messages and rows: documents become JSON text, everything else keeps its column."""

from __future__ import annotations

from typing import Any

import msgspec

from subjects.agent import AgentView, Candidate, Release
from subjects.event import TaskJudged, TaskProcessed

from .contract import Measured, Tally

Row = tuple[Any, ...]
Parameters = dict[str, Any]

_LARGEST = (1 << 63) - 1
"""What an integer column holds; the wire can carry more."""

_encoder = msgspec.json.Encoder()
_release = msgspec.json.Decoder(Release)
_document = msgspec.json.Decoder(dict[str, Any])
_any = msgspec.json.Decoder()


def to_json(value: Any) -> str:
    """JSON text of a value."""
    return _encoder.encode(value).decode()


def from_json(text: str) -> Any:
    """The value of a JSON text."""
    return _any.decode(text)


def agent_parameters(view: AgentView) -> Parameters:
    """An agent's pointers."""
    trial = view.candidate
    return {
        "name": view.name, "state": view.state, "live": view.live, "previous": view.previous,
        "candidate": trial.release if trial else None, "share": trial.share if trial else None,
    }  # fmt: skip


def agent_view(row: Row, releases: list[Release]) -> AgentView:
    """An agent from its row and its releases."""
    name, state, live, candidate, share, previous = row
    trial = None if candidate is None else Candidate(release=candidate, share=share)
    return AgentView(name=name, state=state, live=live, candidate=trial, previous=previous, releases=releases)


def release_parameters(release: Release) -> Parameters:
    """A release: its keys for questions, and the whole as one document."""
    return {
        "agent": release.agent, "number": release.number, "digest": release.digest, "parent": release.parent,
        "created_at": release.created_at, "document": to_json(release),
    }  # fmt: skip


def release_from(row: Row) -> Release:
    """A release from its document."""
    return _release.decode(row[0])


def outcome_parameters(outcome: TaskProcessed) -> Parameters:
    """A task's outcome."""
    return {
        **_plain(outcome),
        "input": None if outcome.input is None else to_json(outcome.input),
        "output": None if outcome.output is None else to_json(outcome.output),
    }


def outcome_from(row: Row) -> TaskProcessed:
    """A task's outcome from the columns ``OUTCOME_COLUMNS``."""
    (job_id, agent, release, task, outcome, at, queue_ms, run_ms, cpu_ms, memory_bytes, node, variant, key, detail,
     given, answer) = row  # fmt: skip
    return TaskProcessed(
        job_id=job_id, agent=agent, release=release, task=task, outcome=outcome, at=at, queue_ms=queue_ms,
        run_ms=run_ms, cpu_ms=cpu_ms, memory_bytes=memory_bytes, node=node, variant=variant, key=key, detail=detail,
        input=None if given is None else _document.decode(given),
        output=None if answer is None else _document.decode(answer),
    )  # fmt: skip


def measured_from(row: Row) -> Measured:
    """A task's figures."""
    agent, at, queue_ms, run_ms, cpu_ms, outcome, correct = row
    verdict = None if correct is None else bool(correct)
    return Measured(agent, at, queue_ms or 0.0, run_ms or 0.0, cpu_ms or 0.0, outcome == "ok", verdict)


def tally_from(row: Row) -> Tally:
    """An agent's sums."""
    agent, tasks, errors, queue_ms, run_ms, cpu_ms, judged, correct = row
    times = (float(queue_ms or 0), float(run_ms or 0), float(cpu_ms or 0))
    return Tally(agent, int(tasks), int(errors), *times, int(judged), int(correct))


def judgement_parameters(judged: TaskJudged) -> Parameters:
    """Feedback for a task."""
    return _plain(judged)


def _plain(message: msgspec.Struct) -> Parameters:
    """Its fields, with the integers as a database takes them."""
    return {name: _fitting(getattr(message, name)) for name in message.__struct_fields__}


def _fitting(value: Any) -> Any:
    return max(-_LARGEST, min(_LARGEST, int(value))) if isinstance(value, int) else value
