"""The calibration as a table for people and as data for the test that checks it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.calibration import alarms, coverage, cuped, power, stream
from tests.calibration.case import MESSAGES, SEED, Case, Result

CASES: tuple[Case, ...] = (*alarms.CASES, *cuped.CASES, *coverage.CASES, *power.CASES, *stream.CASES)
TABLE, DATA = (Path(__file__).parent / name for name in ("table.md", "table.json"))
COMMAND = "python -m tests.calibration --write"


def document(results: Sequence[Result]) -> str:
    """The table as Markdown."""
    lines = [
        "# Calibration of the gate's statistics",
        "",
        f"By `{COMMAND}`, seed {SEED}; do not edit. Experiments run for {MESSAGES:,} messages with a look after",
        "every one of them, at level 5 %; messages until a decision are at one-sided level 2.5 %. Where a share of",
        "experiments has a bound, 2.6 standard errors of a share of 5 % are allowed for chance.",
    ]
    group = ""
    for one in results:
        if one.case.group != group:
            group = one.case.group
            heading = group[0].upper() + group[1:]
            lines += ["", f"## {heading}", "", "| test | on | figure | bound | experiments |  |"]
            lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines.append(_line(one))
    return "\n".join([*lines, ""])


def _line(one: Result) -> str:
    case = one.case
    bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", case.least), ("<=", case.most)) if bound is not None]
    verdict = {None: "shown", True: "holds", False: "**missed**"}[one.holds]
    return f"| {case.test} | {case.setting} | {one.value:.4g} | {', '.join(bounds)} | {one.runs} | {verdict} |"


def data(results: Sequence[Result]) -> bytes:
    """The same as JSON: a figure for each name."""
    figures: dict[str, Any] = {
        one.case.name: {"value": one.value, "runs": one.runs, "least": one.case.least, "most": one.case.most}
        for one in results
    }
    return msgspec.json.format(msgspec.json.encode({"seed": SEED, "figures": figures}), indent=1) + b"\n"
