"""The plan to spend less, put together from what is known; it may run in another thread, for it is given copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.costing import batching, idleness, mix
from actors.costing.batching import Ended
from actors.costing.buckets import HOUR, MINUTE, Bucket, Line
from actors.costing.idleness import Idle
from actors.costing.mix import Site
from actors.costing.prices import Tariff
from actors.costing.statement import power
from subjects.cost import CostPlan, Saving

from . import consolidation
from .floor import Packing
from .record import WHOLE, Record

FEW_MINUTES = 60
"""Minutes of samples below which no node mix is computed: their peak says nothing about tomorrow's."""

Verdict = tuple[Saving | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the plan rests on.

    Attributes:
        now: Unix seconds.
        buckets: The ledger.
        records: Devices that can be lent, with what is lent of them.
        sites: Nodes.
        tariff: Prices.
        packing: How requests are placed.
        idle: Live leases that nobody uses.
        spot: Part of what is lent that may be taken back.
        tasks: The last tasks of agents.
        slack_s: Latency that may be added.
    """

    now: float
    buckets: Sequence[Bucket]
    records: Sequence[Record]
    sites: Sequence[Site]
    tariff: Tariff
    packing: Packing
    idle: Sequence[Idle]
    spot: float
    tasks: Sequence[Ended]
    slack_s: float


def plan(known: Known, stop: Callable[[], bool]) -> CostPlan:
    """All of it, most saved first: money before joules, for they can't be compared."""
    verdicts = [_mix(known), idleness.saving(known.idle), _consolidation(known, stop), *_batching(known)]
    savings = [saving for saving, _ in verdicts if saving is not None]
    savings.sort(key=lambda one: (one.unit != "money", -one.saves))
    minutes = recorded(known.buckets)
    words = [f"{minutes / 60:.1f} hours of demand are recorded in the time that was asked for"]
    if not known.tariff.now.prices:
        words.append("no prices are set, so money can't be told: chimera gpu prices")
    return CostPlan(savings=savings, hours=minutes / 60, words=words + [text for _, text in verdicts if text])


def recorded(buckets: Sequence[Bucket]) -> int:
    """Minutes of which samples are known."""
    return sum(max(bucket.wanted("cpu").minutes, bucket.wanted("gpu").minutes) for bucket in buckets)


def _mix(known: Known) -> Verdict:
    table, minutes = known.tariff.now, recorded(known.buckets)
    if not table.prices:
        return None, "node mix: no prices are set"
    if minutes < FEW_MINUTES:
        return None, f"node mix: {minutes} minutes of demand are recorded, at least {FEW_MINUTES} are needed"
    need = mix.wanted(known.buckets, known.spot)
    return mix.saving(table, known.sites, need, mix.solve(table, known.sites, need))


def _consolidation(known: Known, stop: Callable[[], bool]) -> Verdict:
    if len(known.sites) < 2:  # noqa: PLR2004 - one node has nowhere to move to
        return None, "consolidation: there is only one node"
    table, sites = known.tariff.now, {site.name: site for site in known.sites}

    def worth(node: str) -> float:
        return mix.present([sites[node]], table) or 0.0

    found = consolidation.consolidation(known.records, known.packing, worth, stop)
    emptied = [sites[node] for node in found.nodes]
    return consolidation.saving(found, mix.present(emptied, table), _idle_watts(known, set(found.nodes)))


def _idle_watts(known: Known, nodes: set[str]) -> float | None:
    """What the devices of these nodes take while nobody uses them, as fitted to the minutes; ``None`` = not known."""
    total, fits = 0.0, dict[Line, batching.Fit | None]()
    for record in known.records:
        line: Line = (record.kind, record.model)
        if record.node not in nodes:
            continue
        if line not in fits:
            fits[line] = batching.power_line(_minutes(known, line))
        fit = fits[line]
        if fit is None:
            return None
        total += max(0.0, fit.a)
    return total


def _minutes(known: Known, line: Line) -> list[tuple[float, float]]:
    """Utilisation and watts of a device, minute by minute, where both were told."""
    found: list[tuple[float, float]] = []
    for bucket in known.buckets:
        lend = bucket.lend.get(line)
        if bucket.length == MINUTE and lend is not None and lend.told and lend.metered:
            what = power(bucket, line, known.tariff.tables[known.tariff.number(bucket.start)])
            found.append((lend.busy / lend.told, what.watts))
    return found


def _batching(known: Known) -> list[Verdict]:
    """One verdict for each agent, in joules: of money nothing is saved while the node stays."""
    tasks = [one for one in known.tasks if one.at >= known.now - HOUR]
    if not tasks:
        return [(None, "batching: no agent ran a task within the last hour")]
    watts = _watts_per_processor(known)
    if watts is None:
        return [(None, "batching: the power of processors by their utilisation is not known, so it can't be valued")]
    seconds = max(known.now - min(one.at for one in tasks), 1.0)
    by_agent: dict[str, list[Ended]] = {}
    for one in tasks:
        by_agent.setdefault(one.agent, []).append(one)
    return [
        batching.saving(agent, own, slack_s=known.slack_s, watts_busy=watts, seconds=seconds)
        for agent, own in sorted(by_agent.items())
    ]


def _watts_per_processor(known: Known) -> float | None:
    """What a busy processor takes more than an idle one."""
    cpus = [record for record in known.records if record.kind == "cpu"]
    fits = [(one, batching.power_line(_minutes(known, ("cpu", one.model)))) for one in cpus]
    rates = [fit.b / (one.milli / WHOLE) for one, fit in fits if fit is not None and one.milli]
    return sum(rates) / len(rates) if rates else None
