"""How commands speak: data on standard output, complaints on standard error, colour only where it is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO


def plain(stream: TextIO) -> bool:
    """True where colour and animation are not wanted: no terminal, or NO_COLOR."""
    return not stream.isatty() or bool(os.environ.get("NO_COLOR"))


def complain(detail: str, *, hint: str = "", code: str = "") -> None:
    """One line on standard error that says what is wrong, and one that says what to do."""
    mark = "chimera:" if plain(sys.stderr) else "\x1b[31mchimera:\x1b[0m"
    print(f"{mark} {detail}" + (f" [{code}]" if code else ""), file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def note(text: str) -> None:
    """A remark on standard error."""
    print(text, file=sys.stderr)


def emit_json(value: Any) -> None:
    """``value`` as indented JSON on standard output."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.flush()


def emit_line(value: Any) -> None:
    """``value`` as one line of JSON on standard output, at once."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.flush()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", stream: TextIO | None = None
) -> None:
    """A table, by rich on a terminal and in plain aligned columns elsewhere."""
    target = stream or sys.stdout
    texts = [[_text(cell) for cell in row] for row in rows]
    if plain(target):
        _plain_table(columns, texts, title, target)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=title or None, box=SIMPLE_HEAD, title_justify="left")
    for row in texts:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(file=target).print(drawn)


def _plain_table(columns: Sequence[str], rows: list[list[str]], title: str, target: TextIO) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if title:
        print(title, file=target)
    for row in (list(columns), *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=target)


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"  # noqa: PLR2004 - three digits are enough to read
    return str(cell)


def flatten_row(row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    """The cells of ``columns`` of one mapping."""
    return [row.get(column) for column in columns]
