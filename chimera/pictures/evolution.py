"""An evolution as pictures and as a page: fitness, diversity, the champion's lineage, the front or the map."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from subjects import Request
from subjects.evolution import Evolution, GenerationView, Objective, Progress
from subjects.evolver import GetPopulation, Member, Population
from subjects.genome import GenomeDetail, GetGenome

from .grid import Grid, Steps
from .page import Figure, Page, Section, Table
from .picture import Picture, stack
from .plot import Axis, Plot, Series
from .tree import Node, Tree

MOST_NODES = 150
"""Ancestors in the picture of a lineage, the nearest."""

MOST_MEMBERS = 1000
_DEPTH = 60
_LEAST_CELLS = 2
_GENERATION = Axis(label="generation")


def needs(progress: Progress) -> list[Request[Population] | Request[GenomeDetail]]:
    """What else the pictures show: to be asked, and given to ``render`` or ``svg`` in this order."""
    one = progress.evolution
    asked: list[Request[Population] | Request[GenomeDetail]] = [GetPopulation(id=one.id, limit=MOST_MEMBERS)]
    return [*asked, GetGenome(id=one.champion.id, depth=_DEPTH)] if one.champion else asked


def render(progress: Progress, population: Population | None = None, champion: GenomeDetail | None = None) -> str:
    """The page of an evolution; what could not be had is said to be missing."""
    one = progress.evolution
    sections = [
        _summary(progress), Section("Fitness", [_words(one), Figure(fitness(progress))]),
        Section("Diversity", [_actions(progress.history), Figure(diversity(progress.history))]),
        _found(one, population), _lineage(champion), _table(progress.history),
    ]  # fmt: skip
    ended = f"ended {_moment(one.ended_at)}" if one.ended_at else f"{one.state}, expected to need {_left(one.eta_s)}"
    lead = f"{one.agent}, release {one.release}: began {_moment(one.started_at)} UTC, {ended}"
    return Page(f"Evolution {one.id}", lead, sections).html()


def svg(progress: Progress, population: Population | None = None, champion: GenomeDetail | None = None) -> str:
    """All pictures of an evolution below each other in one SVG file."""
    pictures: list[Picture] = [fitness(progress), diversity(progress.history)]
    if population is not None:
        pictures += spread(progress.evolution, population)
    if champion is not None:
        pictures.append(lineage(champion))
    return stack(pictures)


def fitness(progress: Progress) -> Plot:
    """Best and mean fitness with their spread, and the live genome's, per generation."""
    history, baseline = progress.history, progress.evolution.baseline
    steps = [float(one.number) for one in history]
    best, mean = [one.best for one in history], [one.mean for one in history]
    widths, deviations = [one.half_width for one in history], [one.deviation for one in history]
    series = [
        Series("best ± chance", list(zip(steps, best, strict=True)), low=_apart(best, widths, -1),
               high=_apart(best, widths, 1)),
        Series("mean ± deviation", list(zip(steps, mean, strict=True)), low=_apart(mean, deviations, -1),
               high=_apart(mean, deviations, 1)),
    ]  # fmt: skip
    if baseline is not None and steps:
        series.append(Series("live genome", [(steps[0], baseline), (steps[-1], baseline)]))
    return Plot("Fitness", x=_GENERATION, y=Axis(label="fitness, higher is better"), series=series)


def diversity(history: Sequence[GenerationView]) -> Plot:
    """How different the genomes are, the mutation rate, and where the search did something about it."""
    steps = [float(one.number) for one in history]
    series = [
        Series("distance", [(step, one.distance) for step, one in zip(steps, history, strict=True)]),
        Series("entropy", [(step, one.entropy) for step, one in zip(steps, history, strict=True)]),
        Series("unique", [(step, one.unique) for step, one in zip(steps, history, strict=True)]),
        Series("mutation rate", [(step, one.mutation_rate) for step, one in zip(steps, history, strict=True)]),
    ]
    acted = [(step, 0.0) for step, one in zip(steps, history, strict=True) if one.action]
    if acted:
        series.append(Series("action", acted, kind="dots"))
    return Plot("Diversity", x=_GENERATION, y=Axis(label="distance, shares", zero=True), series=series)


def spread(one: Evolution, population: Population) -> list[Picture]:
    """The front over each pair of objectives with the first, and the map, where there are such."""
    pictures: list[Picture] = []
    if len(one.objectives) > 1:
        pictures += [_front(one, population, second) for second in range(1, len(one.objectives))]
    if population.archive:
        pictures.append(_map(one, population))
    return pictures


def lineage(champion: GenomeDetail) -> Tree:
    """The champion's ancestors by generation, coloured by fitness."""
    shown = champion.ancestors[:MOST_NODES]
    known = {one.id for one in shown}
    nodes = [
        Node(one.id, one.generation, one.fitness, f"{one.id}: {one.operator}, fitness {_number(one.fitness)}",
             mark=one.depth == 0)
        for one in shown
    ]  # fmt: skip
    edges = [(parent, one.id) for one in shown for parent in one.parents if parent in known]
    return Tree(f"Lineage of {champion.genome.id}", nodes, edges, layer="generation", value="fitness")


def _front(one: Evolution, population: Population, second: int) -> Plot:
    def points(members: Sequence[Member]) -> list[tuple[float, float | None]]:
        return [(member.values[0], member.values[second]) for member in members if len(member.values) > second]

    knee = [member for member in population.front if member.genome == population.knee]
    series = [
        Series("population", points(population.members), kind="dots"),
        Series("front", points(population.front), kind="dots"), Series("knee", points(knee), kind="dots"),
    ]  # fmt: skip
    x, y = _axis(one.objectives[0]), _axis(one.objectives[second])
    return Plot("Pareto front", x=Axis(label=x), y=Axis(label=y), series=series, height=320)


def _map(one: Evolution, population: Population) -> Grid:
    cells: dict[tuple[int, int], float | None] = {}
    titles: dict[tuple[int, int], str] = {}
    for member in population.archive:
        if member.cell:
            place = (member.cell[0], member.cell[1] if len(member.cell) > 1 else 0)
            cells[place] = member.values[0] if member.values else None
            titles[place] = member.genome
    x, y = (_steps(one, axis, cells) for axis in (0, 1))
    return Grid("Map of the best genome per behaviour", x, y, cells, titles, value=one.objectives[0].metric.name)


def _steps(one: Evolution, axis: int, cells: dict[tuple[int, int], float | None]) -> Steps:
    if axis < len(one.descriptors):
        known = one.descriptors[axis]
        return Steps(known.name, known.cells, known.low, known.high)
    most = max((place[axis] for place in cells), default=0) + 1
    return Steps("", 1) if axis and most == 1 else Steps(f"descriptor {axis + 1}", max(_LEAST_CELLS, most), 0, most)


def _summary(progress: Progress) -> Section:
    one, window = progress.evolution, progress.evolution.window
    rows = [
        ("state", f"{one.state}: {one.reason}" if one.reason else one.state),
        ("algorithm", f"{one.algorithm}: {one.why}" if one.why else one.algorithm),
        ("generations", f"{one.generation} of {one.generations}, {one.population_size} genomes each"),
        ("objectives", ", ".join(map(_axis, one.objectives))),
        ("evaluations", f"{one.evaluations:,}, {one.rate_per_s:.3g} a second"),
        ("tasks", f"{one.tasks_run:,} run, {one.cpu_s:.3g} s of CPU"),
        ("window", f"{window.source}: {window.train} to train on, {window.validation} to validate on"),
        ("convergence", progress.convergence),
        ("seed", f"{one.seed}, {'repeatable' if one.repeatable else 'not repeatable any more'}"),
    ]  # fmt: skip
    return Section("Summary", [Table(("", ""), rows)])


def _words(one: Evolution) -> str:
    if one.champion is None:
        return "No genome was measured yet."
    against = f", the live genome's is {_number(one.incumbent_value)}" if one.incumbent_value is not None else ""
    value = f" Its figure on the validation tasks is {_number(one.champion_value)}{against}."
    gate = f" The gate's experiment {one.experiment}: {one.outcome or 'under way'}." if one.experiment else ""
    return (
        f"Best on the training tasks: {_number(one.best)}, the live genome has {_number(one.baseline)}. "
        f"Champion: {one.champion.id}.{value if one.champion_value is not None else ''}{gate}"
    )


def _actions(history: Sequence[GenerationView]) -> str:
    acted = [one for one in history if one.action]
    if not acted:
        return "Nothing had to be done about it."
    times = "once" if len(acted) == 1 else f"in {len(acted)} generations"
    return f"Something was done about it {times}, last in generation {acted[-1].number}: {acted[-1].action}."


def _found(one: Evolution, population: Population | None) -> Section:
    title = "Front" if len(one.objectives) > 1 else "Map" if one.algorithm == "map-elites" else "Population"
    if population is None:
        return Section(title, ["The population could not be had."])
    parts: list[str | Table | Figure] = [Figure(picture) for picture in spread(one, population)]
    if population.coverage is not None:
        parts.insert(0, f"{population.coverage:.1%} of the map is filled.")
    if population.knee:
        parts.insert(0, f"The genome that gives up least is {population.knee}.")
    members = population.front or population.members
    head = ("genome", *map(_axis, one.objectives), "±", "operator", "age")
    rows = [_row(member, len(one.objectives)) for member in members[:20]]
    return Section(title, [*parts, Table(head, rows, caption="The best" if not population.front else "The front")])


def _row(member: Member, count: int) -> tuple[str | float | None, ...]:
    values = [*member.values[:count], *[None] * (count - len(member.values))]
    return (member.genome, *values, member.half_width, member.operator, member.age)


def _lineage(champion: GenomeDetail | None) -> Section:
    if champion is None:
        return Section("Lineage", ["There is no champion whose lineage is known."])
    parts: list[str | Table | Figure] = []
    if len(champion.ancestors) <= 1:
        parts.append(f"{champion.genome.id} has no parents: it was {champion.genome.operator}.")
    else:
        cut = len(champion.ancestors) > MOST_NODES or champion.cut
        parts += [
            f"{len(champion.ancestors) - 1} ancestors{', the nearest of them shown' if cut else ''}.",
            Figure(lineage(champion)),
        ]
    if champion.changes:
        rows = [(name, str(value)) for name, value in sorted(champion.changes.items())]
        parts.append(Table(("gene", "champion's value"), rows, caption="What differs from the live genome"))
    if champion.faults:
        parts.append(f"It can't be deployed: {'; '.join(champion.faults)}.")
    return Section("Lineage", parts)


def _table(history: Sequence[GenerationView]) -> Section:
    head = ("generation", "best", "mean", "worst", "distance", "unique", "failed", "from the cache", "s", "action")
    rows = [
        (one.number, one.best, one.mean, one.worst, one.distance, one.unique, one.failed, one.cached, one.seconds,
         one.action)
        for one in reversed(history[-50:])
    ]  # fmt: skip
    return Section("Generations", [Table(head, rows) if rows else "None is finished yet."])


def _apart(middle: Sequence[float | None], width: Sequence[float | None], sign: int) -> list[float | None]:
    return [
        None if value is None or far is None else value + sign * far for value, far in zip(middle, width, strict=True)
    ]


def _axis(objective: Objective) -> str:
    metric = objective.metric
    if objective.statistic == "correlation":
        return f"correlation by {metric.name}"
    return f"{metric.name}, {metric.better} is better"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _left(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s more"
