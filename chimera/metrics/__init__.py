"""What the system measures about itself, as Prometheus text. Collecting is plain Python; aioprometheus renders."""

from .catalogue import CATALOGUE, Metric, metrics_table
from .registry import Count, Level, Metrics, Reading, Spread
from .sources import observe_bus, observe_process, observe_sandbox, observe_store

__all__ = [
    "CATALOGUE",
    "Count",
    "Level",
    "Metric",
    "Metrics",
    "Reading",
    "Spread",
    "metrics_table",
    "observe_bus",
    "observe_process",
    "observe_sandbox",
    "observe_store",
]
