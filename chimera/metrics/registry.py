"""The numbers themselves: cheap cells that code bumps, readings taken at scrape time, and the text of both."""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from chimera._version import __version__

from .catalogue import CATALOGUE, Kind, Metric

if TYPE_CHECKING:
    from aioprometheus.collectors import Collector, Registry

Reading = Callable[[], Mapping[tuple[str, ...], float]]
"""Tells a metric's values at scrape time, by label values. Must be quick; if it raises it is left out and counted."""

MAX_SERIES = 1000
"""Label sets kept per metric; later ones share a series whose labels are all ``other``."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of the exposition."""


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1.0) -> None:
        """Add ``by``, which must not be negative."""
        if by < 0:
            raise ValueError("a counter can't go down")
        self.value += by


class Level:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace it."""
        self.value = value

    def add(self, by: float) -> None:
        """Add ``by``."""
        self.value += by


class Spread:
    """How values are spread over buckets, with their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count ``value`` in the first bucket whose upper bound is not below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


Cell = Count | Level | Spread


class Metrics:
    """Every metric of one process.

    ``counter``, ``gauge`` and ``histogram`` give the cell of one label set: keep it where it is used, so that the hot
    path bumps an attribute. ``at_scrape`` is for numbers that somebody counts already.

    Args:
        node: Name of the node, a label of ``chimera_build_info``.
        catalogue: The metrics there are.
    """

    def __init__(self, *, node: str = "", catalogue: Iterable[Metric] = CATALOGUE) -> None:
        self._metrics: dict[str, Metric] = {}
        self._cells: dict[str, dict[tuple[str, ...], Cell]] = {}
        self._readings: dict[str, list[Reading]] = {}
        self._fills: list[Callable[[], None]] = []
        for metric in catalogue:
            self.declare(metric)
        self.gauge("chimera_build_info", __version__, platform.python_version(), node).set(1)

    def declare(self, metric: Metric) -> None:
        """Add a metric to the catalogue of this process.

        Raises:
            ValueError: If the name is taken.
        """
        if metric.name in self._metrics:
            raise ValueError(f"{metric.name} is declared already")
        self._metrics[metric.name] = metric
        self._cells[metric.name] = {}

    @property
    def declared(self) -> tuple[Metric, ...]:
        """Every declared metric."""
        return tuple(self._metrics.values())

    def counter(self, name: str, *labels: str) -> Count:
        """The counter ``name`` for these label values."""
        return self._cell(name, "counter", labels)

    def gauge(self, name: str, *labels: str) -> Level:
        """The gauge ``name`` for these label values."""
        return self._cell(name, "gauge", labels)

    def histogram(self, name: str, *labels: str) -> Spread:
        """The histogram ``name`` for these label values."""
        return self._cell(name, "histogram", labels)

    def total(self, name: str) -> float:
        """What the counter ``name`` has counted in this process, whatever the labels."""
        if self._metric(name).kind != "counter":
            raise ValueError(f"{name} is no counter")
        return sum(cell.value for cell in self._cells[name].values() if isinstance(cell, Count))

    def at_scrape(self, name: str, reading: Reading) -> None:
        """Ask ``reading`` for values of ``name`` at every scrape; several readings of one name add up.

        Raises:
            ValueError: If it is not declared, or a histogram.
        """
        if self._metric(name).kind == "histogram":
            raise ValueError(f"{name} is a histogram; it can't be read at scrape time")
        self._readings.setdefault(name, []).append(reading)

    def no_longer(self, name: str, reading: Reading) -> None:
        """Forget a reading: whoever gave it has ended, and another gives its own."""
        self._readings[name].remove(reading)

    def before_scrape(self, fill: Callable[[], None]) -> None:
        """Run ``fill`` before every scrape, in a thread: for numbers that must be read from files into cells."""
        self._fills.append(fill)

    def prepare(self) -> None:
        """Import the renderer, which takes 0.1 s, and read what blocks. Call it in a thread before ``exposition``."""
        import_module("aioprometheus.formats.text")
        for fill in self._fills:
            try:
                fill()
            except OSError:
                self.counter("chimera_scrape_errors_total", "files").inc()

    def exposition(self) -> bytes:
        """The Prometheus text (format 0.0.4) of all that was counted and all that is read now."""
        from aioprometheus.collectors import Registry  # noqa: PLC0415 - 100 ms that only a scraped process pays
        from aioprometheus.formats import text  # noqa: PLC0415 - the same

        registry = Registry()
        values = {name: self._read(name) for name in self._readings}
        for metric in self._metrics.values():
            cells = self._cells[metric.name]
            if metric.kind == "histogram":
                _add_histogram(registry, metric, cells)
            else:
                _add_numbers(registry, metric, cells, values.get(metric.name, {}))
        return text.TextFormatter().marshall(registry)

    def _read(self, name: str) -> dict[tuple[str, ...], float]:
        values: dict[tuple[str, ...], float] = {}
        for reading in self._readings[name]:
            try:
                fresh = dict(reading())
            except Exception:  # noqa: BLE001 - one broken reading must not cost the whole scrape
                self.counter("chimera_scrape_errors_total", name).inc()
                continue
            for labels, value in fresh.items():
                values[labels] = values.get(labels, 0.0) + value
        return values

    def _metric(self, name: str) -> Metric:
        metric = self._metrics.get(name)
        if metric is None:
            raise ValueError(f"{name} is not declared; add it to chimera/metrics/catalogue.py")
        return metric

    def _cell(self, name: str, kind: Kind, labels: tuple[str, ...]) -> Any:
        cells = self._cells.get(name)
        cell = cells.get(labels) if cells else None
        return cell if cell is not None else self._make(self._metric(name), kind, labels)

    def _make(self, metric: Metric, kind: Kind, labels: tuple[str, ...]) -> Cell:
        if metric.kind != kind or len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} is a {metric.kind} with the labels {metric.labels}, not a {kind} {labels}")
        cells = self._cells[metric.name]
        if len(cells) >= MAX_SERIES:
            labels = ("other",) * len(labels)
        return cells.setdefault(labels, _new_cell(metric))


def _new_cell(metric: Metric) -> Cell:
    if metric.kind == "histogram":
        return Spread(metric.buckets)
    return Count() if metric.kind == "counter" else Level()


def _add_numbers(
    registry: Registry, metric: Metric, cells: Mapping[tuple[str, ...], Cell], read: Mapping[tuple[str, ...], float]
) -> None:
    from aioprometheus.collectors import Counter, Gauge  # noqa: PLC0415 - see exposition

    collector = (Counter if metric.kind == "counter" else Gauge)(metric.name, metric.help, registry=registry)
    numbers = {labels: cell.value for labels, cell in cells.items() if not isinstance(cell, Spread)}
    for labels, value in read.items():
        numbers[labels] = numbers.get(labels, 0.0) + value
    for labels, value in numbers.items():
        _put(collector, metric, labels, float(value))


def _add_histogram(registry: Registry, metric: Metric, cells: Mapping[tuple[str, ...], Cell]) -> None:
    from aioprometheus import histogram  # noqa: PLC0415 - see exposition
    from aioprometheus.collectors import Histogram  # noqa: PLC0415 - see exposition

    collector = Histogram(metric.name, metric.help, registry=registry, buckets=metric.buckets)
    for labels, cell in cells.items():
        if not isinstance(cell, Spread):
            continue
        filled = histogram.Histogram(*metric.buckets)
        running = list(accumulate(cell.counts))
        filled.buckets.update(zip(filled.buckets, running, strict=True))
        filled.observations, filled.sum = running[-1], cell.total
        _put(collector, metric, labels, filled)


def _put(collector: Collector, metric: Metric, labels: tuple[str, ...], value: Any) -> None:
    named = {name: _escape(text) for name, text in zip(metric.labels, labels, strict=True)}
    collector.set_value(named, value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
