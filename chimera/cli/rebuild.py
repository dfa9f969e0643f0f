"""``chimera rebuild``: throw the projections away and make them again from the streams."""

from __future__ import annotations

import argparse
import time
from typing import Any

from .command import Command, Exit
from .output import emit_json, note, table
from .progress import metered
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[],
        help="this projection only: outcomes, judgements, agents or tasks; may be repeated",
    )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    import anyio

    from chimera.highwater import accept

    settings = load_settings(options).settings
    rows: list[dict[str, Any]] = anyio.run(_rebuild, settings, options.only)
    accepted = {} if options.only else accept(settings.node.data)
    if options.json:
        emit_json({"rebuilt": rows, "accepted": list(accepted)})
        return Exit.DONE
    table(("projection", "made again from", "s"), [(row["name"], row["done"], row["seconds"]) for row in rows])
    for stream in accepted:
        note(f"accepted: stream {stream} is what it is now")
    return Exit.DONE


async def _rebuild(settings: Any, only: list[str]) -> list[dict[str, Any]]:
    from chimera.errors import BadMessageError, NotFoundError
    from chimera.node.repair import opened, parts_of

    rows: list[dict[str, Any]] = []
    async with opened(settings) as (bus, store):
        parts = parts_of(settings, bus, store)
        names = [part.name for part in parts]
        if unknown := set(only) - set(names):
            raise BadMessageError(f"there is no projection {min(unknown)!r}", hint=f"there are: {', '.join(names)}")
        for part in parts:
            if only and part.name not in only:
                continue
            began = time.monotonic()
            with metered(part.name) as progress:
                try:
                    done = await part.rebuild(progress)
                except NotFoundError:
                    done = "nothing: its stream was never made"
            rows.append({"name": part.name, "done": done, "seconds": round(time.monotonic() - began, 3)})
    return rows


COMMAND = Command(
    "rebuild",
    "throw the projections away and make them again from the streams; a node may run meanwhile",
    "chimera rebuild",
    _arguments,
    _run,
)
