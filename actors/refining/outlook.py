"""What the load forecasters expect of the time ahead, and how many workers that takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from actors.insight.forecast import MISS, Forecast, predict, reach_s
from actors.insight.model import Model
from actors.queueing.littles import desired_workers
from subjects.report import LoadForecast

STEPS = 24
"""Moments ahead that are looked at."""


def outlook(models: Mapping[str, Model], run_s: Mapping[str, float], now: float) -> LoadForecast | None:
    """The busiest of the moments ahead, as far as the forecasters were tested; ``None`` without any.

    Bounds of several agents are added up; that all hold at once is as sure as the sum of their misses allows.

    Args:
        models: Live load forecasters by agent, of tasks a minute.
        run_s: Mean run of each agent's tasks, in seconds.
        now: Unix time.
    """
    known = {agent: model for agent, model in models.items() if agent in run_s}
    if not known:
        return None
    far = min(reach_s(model) for model in known.values())
    moments = [{agent: _ahead(model, now + far * step / STEPS) for agent, model in known.items()}
               for step in range(1, STEPS + 1)]  # fmt: skip
    busy = max(moments, key=lambda moment: sum(one.high * run_s[agent] for agent, one in moment.items()))
    high = sum(one.high for one in busy.values()) / 60.0
    mean_run = sum(one.high * run_s[agent] for agent, one in busy.items()) / 60.0 / high if high else 0.0
    return LoadForecast(
        at=next(iter(busy.values())).at, until=now + far, per_s=sum(one.expected for one in busy.values()) / 60.0,
        low_per_s=sum(one.low for one in busy.values()) / 60.0, high_per_s=high,
        confidence=max(0.0, 1.0 - MISS * len(known)), workers=desired_workers(high, mean_run, 0),
        models=sorted(f"{one.name}/{one.version}" for one in known.values()),
    )  # fmt: skip


def _ahead(model: Model, at: float) -> Forecast:
    found = predict(model, max(at, model.window_to))
    return Forecast(at, max(0.0, found.expected), max(0.0, found.low), max(0.0, found.high))
