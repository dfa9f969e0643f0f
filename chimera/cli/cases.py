"""Labelled tasks from a file: tab-separated text, or one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from chimera.errors import BadMessageError
from subjects.evolution import MOST_CASES, Case

_FORMS = "text<TAB>label, text<TAB>score, or a head that names the columns text, label, score"
_JUDGED = ("label", "score")


def read_cases(path: Path) -> list[dict[str, Any]]:
    """The labelled tasks of a ``.tsv`` or ``.jsonl`` file, as they are sent.

    Without a head, a line of a ``.tsv`` is a text and its label, or its score if that is a number. Columns that a head
    names otherwise become fields of the input.

    Raises:
        BadMessageError: If the file can't be read, or a line is not a task with its label or score; it says which.
    """
    try:
        lines = [line.rstrip("\r") for line in path.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise BadMessageError(f"--data {path} can't be read: {error}") from error
    reader = {".tsv": _tabbed, ".jsonl": _objects, ".ndjson": _objects}.get(path.suffix.lower())
    if reader is None:
        raise BadMessageError(f"--data {path}: a .tsv or a .jsonl file is needed")
    cases = list(reader(path, lines))
    if not cases:
        raise BadMessageError(f"--data {path} holds no task")
    if len(cases) > MOST_CASES:
        raise BadMessageError(f"--data {path} holds {len(cases)} tasks, at most {MOST_CASES} are taken")
    return cases


def _objects(path: Path, lines: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _whole(msgspec.json.decode(line, type=Case))
            except (msgspec.DecodeError, BadMessageError) as error:
                raise BadMessageError(
                    f"--data {path}, line {number}: {error}",
                    hint='one object per line: {"input": {"text": "..."}, "label": "positive", "score": 0.8}',
                ) from error


def _tabbed(path: Path, lines: list[str]) -> Iterator[dict[str, Any]]:
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]
    head = [cell.strip() for cell in rows[0][1]] if rows else []
    named = bool(set(head) & {*_JUDGED, "text"}) and bool(set(head) & set(_JUDGED))
    for number, cells in rows[1:] if named else rows:
        try:
            yield _row(dict(zip(head, cells, strict=True)) if named else _plain(cells))
        except (ValueError, msgspec.ValidationError, BadMessageError) as error:
            raise BadMessageError(f"--data {path}, line {number}: {error}", hint=f"a line is {_FORMS}") from error


def _plain(cells: list[str]) -> dict[str, str]:
    text, judged = cells
    return {"text": text, "score" if _is_number(judged) else "label": judged}


def _row(row: dict[str, str]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if name not in _JUDGED}
    label, score = row.get("label", "").strip(), row.get("score", "").strip()
    plain = {"input": given, "label": label or None, "score": float(score) if score else None}
    return _whole(msgspec.convert(plain, Case))


def _whole(case: Case) -> dict[str, Any]:
    if case.label is None and case.score is None:
        raise BadMessageError("it has neither a label nor a score")
    return {name: value for name, value in msgspec.to_builtins(case).items() if value is not None}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
