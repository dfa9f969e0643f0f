"""A page of sections, tables and plots as one HTML file that can be mailed, printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from .picture import Picture, paint
from .plot import STYLE

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser may load for such a page: nothing."""

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2.2rem}p.lead{margin-top:.2rem;opacity:.75}"
    "table{border-collapse:collapse;margin:.5rem 0}caption{text-align:left;font-weight:600;padding:.3rem 0}"
    "th,td{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid #8884;vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.good{color:#2d7d46}.bad{color:#b3402a}"
    "figure{margin:1rem 0;display:inline-block}@media print{body{margin:0}}"
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. Numbers stand to the right; ``None`` is written as a dash."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture on a page."""

    plot: Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it: sentences, tables and plots in order."""

    title: str
    parts: Sequence[str | Table | Figure]


@dataclass(frozen=True, slots=True)
class Page:
    """A title, one line below it, and sections."""

    title: str
    lead: str
    sections: Sequence[Section] = field(default_factory=tuple[Section, ...])

    def html(self) -> str:
        """The page; everything that came from outside is escaped."""
        body = "".join(_section(section) for section in self.sections)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(CONTENT_POLICY, quote=True)}">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<title>{escape(self.title)}</title><link rel="icon" href="data:,"><style>{_STYLE}{STYLE}</style></head>'
            f'<body><h1>{escape(self.title)}</h1><p class="lead">{escape(self.lead)}</p>{body}</body></html>'
        )


def _section(section: Section) -> str:
    return f"<section><h2>{escape(section.title)}</h2>{''.join(_part(part) for part in section.parts)}</section>"


def _part(part: str | Table | Figure) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    return f"<figure>{paint(part.plot)}</figure>" if isinstance(part, Figure) else _table(part)


def _table(table: Table) -> str:
    numeric = [_is_numeric(table, index) for index in range(len(table.head))]
    head = "".join(_cell("th scope='col'", *pair) for pair in zip(table.head, numeric, strict=True))
    rows = ("".join(_cell("td", *pair) for pair in zip(row, numeric, strict=True)) for row in table.rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_numeric(table: Table, index: int) -> bool:
    cells = [row[index] for row in table.rows]
    return any(not isinstance(cell, str) and cell is not None for cell in cells) and not any(
        isinstance(cell, str) for cell in cells
    )


def _cell(tag: str, value: str | float | None, number: bool) -> str:  # noqa: FBT001 - one of a pair
    kind = " class='n'" if number else ""
    return f"<{tag}{kind}>{_text(value)}</{tag.split(maxsplit=1)[0]}>"


def _text(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return escape(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
