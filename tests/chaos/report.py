"""A run as a table for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.run import Blow, Result


def lines(result: Result) -> Iterator[str]:
    """What was done, what was counted, what held."""
    yield ""
    yield f"{'blow':<28} {'times':>5}  {'longest time without an end: median, most (s)'}"
    for name, blows in sorted(_by_victim(result).items()):
        waits = sorted(blow.silence_s for blow in blows)
        yield f"{name:<28} {len(blows):>5}  {waits[len(waits) // 2]:.1f}  {waits[-1]:.1f}"
    yield ""
    for name, number in result.numbers.items():
        yield f"{name:<32} {number}"
    yield ""
    for finding in result.findings:
        yield f"{'BROKEN' if finding.broken else 'ok':<7} {finding}"
    pauses = len(result.blows) - result.kills
    verdict = f"{len(result.broken)} invariants broke" if result.broken else "every invariant held"
    yield f"seed {result.seed}: {result.kills} kills, {pauses} pauses, {verdict}"


def _by_victim(result: Result) -> dict[str, list[Blow]]:
    found: dict[str, list[Blow]] = defaultdict(list)
    for blow in result.blows:
        found[f"{blow.fault.act} {blow.fault.victim}"].append(blow)
    return found
