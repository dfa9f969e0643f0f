"""An evolution as it goes on: a live view on a terminal, a line per generation elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from chimera.errors import ChimeraError

from .following import AGAIN
from .output import note, plain

if TYPE_CHECKING:
    from rich.table import Table

    from .client import Client

OVER = frozenset({"converged", "exhausted", "stopped", "failed"})
_LOOK_S = 0.5
_PAGE = 1000
_SPARKS = "▁▂▃▄▅▆▇█"
_WIDTH = 48


class View(Protocol):
    """Where an evolution is shown."""

    def show(self, evolution: dict[str, Any], fresh: Sequence[dict[str, Any]]) -> None:
        """How it stands, with the generations that were finished since."""
        ...


async def watch(client: Client, id_: str, view: View) -> dict[str, Any]:
    """Show an evolution until it is over; its last state. Whoever leads meanwhile, and while nobody does.

    Raises:
        ChimeraError: What asking again will not mend.
    """
    import anyio

    from subjects.evolution import PROGRESS

    seen, last = 0, ""
    while True:
        try:
            told = await client.ask(PROGRESS, {"id": id_, "after": seen, "limit": _PAGE})
        except ChimeraError as error:
            if error.code not in AGAIN:
                raise
            if error.detail != last:
                note(f"no answer, asking again: {error.detail}")
            last = error.detail
        else:
            last = ""
            view.show(told["evolution"], told["history"])
            seen += len(told["history"])
            if told["evolution"]["state"] in OVER and len(told["history"]) < _PAGE:
                return told["evolution"]
        await anyio.sleep(_LOOK_S)


@contextmanager
def live_view() -> Generator[View]:
    """The view that this terminal can show."""
    if plain(sys.stderr):
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        yield Screen(live)


class Lines:
    """A line per generation, and one where something else begins."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, evolution: dict[str, Any], fresh: Sequence[dict[str, Any]]) -> None:
        """Write what is new."""
        for one in fresh:
            action = f", {one['action']}" if one["action"] else ""
            note(
                f"generation {one['number'] + 1} of {evolution['generations']}: best {number(one['best'])}, "
                f"mean {number(one['mean'])}, distance {number(one['distance'])}, "
                f"{one['evaluations'] / max(one['seconds'], 1e-9):.3g} evaluations/s{action}"
            )
        now = where(evolution)
        if now != self._said and (self._said or evolution["state"] != "running" or evolution["step"] != "evaluate"):
            note(f"{evolution['id']}: {now}")
        self._said = now


class Screen:
    """A progress bar, the figures and a small curve of the best fitness; drawn again and again in its place."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._best: list[float] = []

    def show(self, evolution: dict[str, Any], fresh: Sequence[dict[str, Any]]) -> None:
        """Draw how it stands."""
        self._best += [one["best"] for one in fresh if one["best"] is not None]
        self._live.update(self._draw(evolution))

    def _draw(self, one: dict[str, Any]) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, one["generations"]), completed=one["generation"], width=_WIDTH)
        count = f"{one['generation']} of {one['generations']}"
        head.add_row(Text(f"{one['agent']} {one['id']}", style="bold"), bar, Text(count))
        curve = Text(sparks(self._best), style="green")
        return Group(head, self._figures(one), curve, Text(where(one), style="dim"))

    def _figures(self, one: dict[str, Any]) -> Table:
        from rich.table import Table
        from rich.text import Text

        figures = {
            "best": number(one["best"]), "mean": number(one["mean"]), "live": number(one["baseline"]),
            "diversity": number(one["diversity"]), "evaluations/s": f"{one['rate_per_s']:.3g}",
            "evaluations": f"{one['evaluations']:,}", "time left": left(one["eta_s"]),
        }  # fmt: skip
        grid = Table.grid(padding=(0, 2))
        grid.add_row(*(Text(name, style="dim") for name in figures))
        grid.add_row(*(Text(value) for value in figures.values()))
        return grid


def sparks(values: Sequence[float], width: int = _WIDTH) -> str:
    """A curve of block characters, at most ``width`` of them; the last value always shows."""
    shown = (
        [values[(index + 1) * len(values) // width - 1] for index in range(width)] if len(values) > width else values
    )
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    return "".join(_SPARKS[min(len(_SPARKS) - 1, int((one - low) / span * len(_SPARKS)))] for one in shown)


def where(one: dict[str, Any]) -> str:
    """Where an evolution stands, in words."""
    if one["state"] != "running":
        return f"{one['state']}: {one['reason']}" if one["reason"] else one["state"]
    if one["step"] == "validate":
        return "the best are measured on the validation tasks"
    if one["step"] == "gate":
        return f"the champion is tried by the gate, which needs live traffic: {one['experiment'] or 'soon'}"
    return f"{one['algorithm']}: {one['why']}" if one["why"] else one["algorithm"]


def number(value: float | None) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.4g}"


def left(seconds: float | None) -> str:
    """A duration as a person reads it."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
