"""Pictures of an evolution in a file, from what the evolver answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import BadSettingError, ChimeraError

from .output import note

if TYPE_CHECKING:
    from subjects import Request

    from .client import Client

_GENERATIONS = 100_000


def check_place(path: Path) -> None:
    """Refuse a file that could not be written when the evolution is over.

    Raises:
        BadSettingError: If its folder is not there, or its name says another form.
    """
    if path.suffix.lower() not in {".svg", ".html"}:
        raise BadSettingError(f"--plot {path}: pictures are written as .svg or .html")
    if not path.absolute().parent.is_dir():
        raise BadSettingError(f"--plot {path} can't be written: there is no folder {path.absolute().parent}")


async def plot(client: Client, id_: str, path: Path) -> None:
    """Write an evolution's pictures: as one SVG file, or as a page if its name ends in ``.html``.

    Raises:
        NoEvolutionError: If there is none.
        BadSettingError: If the file can't be written.
    """
    import msgspec

    from chimera.pictures.evolution import needs, render, svg
    from subjects.evolution import PROGRESS, Progress

    told = msgspec.convert(await client.ask(PROGRESS, {"id": id_, "limit": _GENERATIONS}), Progress)
    more = [await _more(client, message) for message in needs(told)]
    text = (render if path.suffix.lower() == ".html" else svg)(told, *more)
    _write(path, text)
    note(f"written: {path}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadSettingError(f"--plot {path} can't be written: {error.strerror}") from error


async def _more(client: Client, message: Request[Any]) -> Any:
    import msgspec

    from subjects import operation_of

    operation = operation_of(type(message))
    if operation is None:  # pragma: no cover - every request of the pictures is declared
        return None
    try:
        return msgspec.convert(await client.ask(operation, msgspec.to_builtins(message)), operation.reply)
    except ChimeraError as error:
        note(f"left out of the pictures: {error.detail}")
        return None
