"""Joules between two looks at the nodes' reports, device by device."""

from __future__ import annotations

from collections.abc import Iterable

SOURCES = ("none", "declared", "integrated", "counter")
"""Where joules come from, worst first."""


def worst(sources: Iterable[str]) -> str:
    """The worst of them; ``none`` of none."""
    return min(sources, key=SOURCES.index, default="none")


class Gauge:
    """Adds up what each device used since it was drawn last."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._used: dict[str, tuple[float, str]] = {}

    def take(self, key: str, joules: float, source: str) -> None:
        """A device tells what it used since its node began to look; less than before means that it began anew.

        What it used before it was first heard is not counted: nobody knows when that was.
        """
        before = self._last.get(key, joules)
        self._last[key] = joules
        more = joules - before if joules >= before else joules
        used, other = self._used.get(key, (0.0, source))
        self._used[key] = (used + more, worst((other, source)))

    def draw(self, keys: Iterable[str]) -> tuple[float, str]:
        """What these devices used since they were drawn last, as far as they tell, and the worst of its sources."""
        drawn = [self._used.pop(key, (0.0, "none")) for key in keys]
        told = [(used, source) for used, source in drawn if source != "none"]
        return sum(used for used, _ in told), worst(source for _, source in told)

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all other devices."""
        kept = set(keys)
        for gone in self._last.keys() - kept:
            del self._last[gone]
            self._used.pop(gone, None)
