"""The cheapest nodes for the recorded demand, beside what the present ones cost. Prices and demand are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from subjects.cost import Price, Saving

from .buckets import Bucket
from .prices import Table
from .solver import Row, Solution, cheapest

MOST_NODES = 10_000
LIMIT_S = 2.0
_DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Site:
    """A node as it is: its GPUs by model, processors, memory."""

    name: str
    gpus: Mapping[str, int]
    processors: float
    memory_mib: int


@dataclass(slots=True)
class Wanted:
    """The most that was used at once: GPUs by model, all GPUs with those waited for, processors, memory.

    ``spot`` is the part of it that may be taken away at any time: what preemptible leases have.
    """

    models: dict[str, float] = field(default_factory=dict[str, float])
    gpus: float = 0.0
    processors: float = 0.0
    memory_mib: int = 0
    spot: float = 0.0
    minutes: int = 0


def wanted(buckets: Sequence[Bucket], spot: float) -> Wanted:
    """What the recorded demand needs at its peak."""
    found = Wanted(spot=spot)
    for bucket in buckets:
        found.minutes += bucket.wanted("cpu").minutes or bucket.wanted("gpu").minutes
        found.gpus = max(found.gpus, bucket.wanted("gpu").most)
        found.processors = max(found.processors, bucket.wanted("cpu").most)
        memory = 0
        for (kind, model), lend in bucket.lend.items():
            if kind == "gpu":
                found.models[model] = max(found.models.get(model, 0.0), lend.most)
            else:
                memory += lend.memory
        found.memory_mib = max(found.memory_mib, memory)
    return found


def row_of(site: Site, table: Table) -> Price | None:
    """The row of the price table that a node is."""
    if not site.gpus:
        bare = [row for row in table.prices if not row.model]
        return min(bare, key=lambda row: (row.spot, abs(row.processors - site.processors)), default=None)
    model, count = max(site.gpus.items(), key=lambda pair: (pair[1], pair[0]))
    rows = [row for row in table.prices if row.model and row.gpus and row.model.lower() in model.lower()]
    return min(rows, key=lambda row: (row.spot, -len(row.model), abs(row.gpus - count)), default=None)


def present(sites: Sequence[Site], table: Table) -> float | None:
    """What all nodes cost an hour, each by its row and its size; ``None`` if one has no price."""
    total = 0.0
    for site in sites:
        row = row_of(site, table)
        if row is None:
            return None
        total += row.per_hour * sum(site.gpus.values()) / row.gpus if site.gpus else _bare(row, site)
    return total


def _bare(row: Price, site: Site) -> float:
    return row.per_hour * (site.processors / row.processors if row.processors else 1.0)


def solve(table: Table, sites: Sequence[Site], need: Wanted, limit_s: float = LIMIT_S) -> Solution | None:
    """Counts of the price table's rows that meet the demand; ``None`` if none do, or none was found in time."""
    rows = table.prices
    sizes = [_size(row, sites) for row in rows]
    constraints = [Row([one[0] for one in sizes], need.processors), Row([one[1] for one in sizes], need.memory_mib)]
    gpus = [float(row.gpus) if row.model else 0.0 for row in rows]
    constraints.append(Row(gpus, need.gpus))
    for model, count in need.models.items():
        fits = [count if row.model and row.model.lower() in model.lower() else 0.0
                for row, count in zip(rows, gpus, strict=True)]  # fmt: skip
        constraints.append(Row(fits, count))
    if any(row.spot for row in rows):
        constraints.append(Row([g * row.spot for g, row in zip(gpus, rows, strict=True)], most=need.spot * need.gpus))
        bare = [one[0] * (row.spot and not row.model) for one, row in zip(sizes, rows, strict=True)]
        constraints.append(Row(bare, most=need.spot * need.processors))
    return cheapest([row.per_hour for row in rows], constraints, MOST_NODES, limit_s)


def _size(row: Price, sites: Sequence[Site]) -> tuple[float, float]:
    """Processors and MiB of a node of a row: as the row says, else in the proportion of the present nodes of its model.

    Where there is no such node either they are not known, and count as none: it covers only GPUs then.
    """
    such = [site for site in sites if _is_such(row, site)]
    processors, memory = sum(site.processors for site in such), sum(site.memory_mib for site in such)
    if row.model:
        part = row.gpus / max(1, sum(sum(site.gpus.values()) for site in such))
    else:
        part = row.processors / processors if row.processors and processors else 1 / max(1, len(such))
    return float(row.processors) or processors * part, float(row.memory_mib) or memory * part


def _is_such(row: Price, site: Site) -> bool:
    if not row.model:
        return not site.gpus
    return any(row.model.lower() in model.lower() for model in site.gpus)


def saving(table: Table, sites: Sequence[Site], need: Wanted, found: Solution | None) -> tuple[Saving | None, str]:
    """What the cheapest mix would save a day, or in words why nothing."""
    now = present(sites, table)
    if now is None:
        return None, "node mix: a node has no price; set one for each model with: chimera gpu prices"
    if found is None:
        return None, "node mix: no mix of the price table's nodes was found that meets the recorded demand"
    costs = sum(row.per_hour * count for row, count in zip(table.prices, found.counts, strict=True))
    mix = ", ".join(f"{count} x {name(row)}" for row, count in zip(table.prices, found.counts, strict=True) if count)
    figures: dict[str, float | str] = {
        "now_per_hour": now, "mix_per_hour": costs, "peak_gpus": need.gpus, "peak_processors": need.processors,
        "peak_memory_mib": float(need.memory_mib), "spot_share": need.spot,
        "proved": "yes" if found.proved else "no",
    }  # fmt: skip
    if costs >= now - 1e-9:
        return None, f"node mix: the present nodes are the cheapest for the recorded demand ({now:.4g} an hour)"
    return Saving(
        kind="node-mix", words=f"{mix or 'no node'} would carry the recorded peak for {costs:.4g} an hour instead of "
        f"{now:.4g}", how=f"run {mix or 'no node'}", saves=(now - costs) * _DAY_H, unit="money", basis="modelled",
        figures=figures,
    ), ""  # fmt: skip


def name(row: Price) -> str:
    """A row in words."""
    spot = " (spot)" if row.spot else ""
    return f"node of {row.gpus} {row.model}{spot}" if row.model else f"node of {row.processors or '?'} processors{spot}"
