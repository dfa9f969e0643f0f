"""``chimera model``: the models' versions, their backup into a folder, and the way back from there."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import BadMessageError, CorruptError

from .command import Command, Exit
from .output import emit_json, flatten_row, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from .client import Client

INDEX = "models.json"
"""Beside the backed up versions: what each file must be."""

_COLUMNS = ("name", "version", "live", "kind", "error", "baseline_error", "unit", "rows", "drifted", "note")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("list", "backup", "restore"), default="list", help="default: list"
    )
    parser.add_argument(
        "what", nargs="?", default="", help="backup: a folder; restore: that folder, one file of it, or a model's name"
    )
    parser.add_argument("--all", action="store_true", help="list: every stored version, not the live ones only")
    parser.add_argument("--version", type=int, metavar="N", help="restore NAME: this version, not the one before")
    parser.add_argument("--live", action="store_true", help="restore FILE: also put it in use")


def _run(options: argparse.Namespace) -> int:
    from .client import with_client

    if options.action == "backup" and not options.what:
        raise BadMessageError("chimera model backup needs a folder", hint="chimera model backup ./models")
    work = {"list": _list, "backup": _back_up, "restore": _restore}[options.action]
    answer = with_client(load_settings(options).settings, lambda client: work(client, options))
    if options.json:
        emit_json(answer)
    elif options.action == "backup":
        note(f"{len(answer['files'])} versions in {options.what}")
    else:
        table(_COLUMNS, [flatten_row(view, _COLUMNS) for view in answer["models"]])
    for name in answer["corrupt"]:
        note(f"corrupt: {name}")
    return Exit.FAILED if answer["corrupt"] else Exit.DONE


async def _list(client: Client, options: argparse.Namespace) -> Any:
    from subjects.optimizer import MODELS

    return await client.ask(MODELS, {"all": options.all})


async def _back_up(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    """Every version that is sound, one file each."""
    from subjects.optimizer import BACK_UP_MODEL, MODELS

    views: list[dict[str, Any]] = (await client.ask(MODELS, {"all": True}))["models"]
    found: list[dict[str, Any]] = []
    corrupt: list[str] = []
    for view in views:
        try:
            found.append(await client.ask(BACK_UP_MODEL, {"name": view["name"], "version": view["version"]}))
        except CorruptError:
            corrupt.append(f"{view['name']}/{view['version']}")
    return {"files": _write(Path(options.what), found), "corrupt": corrupt}


def _write(folder: Path, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The index last: a backup without one was not finished."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    files: list[dict[str, Any]] = []
    for model in models:
        data, file = base64.b64decode(model["data"]), f"{model['name']}.{model['version']}.model"
        (folder / file).write_bytes(data)
        kept = {name: model[name] for name in ("name", "version", "live")}
        files.append({**kept, "file": file, "sha256": hashlib.sha256(data).hexdigest()})
    (folder / INDEX).write_text(json.dumps({"files": files}, indent=2) + "\n")
    return files


async def _restore(client: Client, options: argparse.Namespace) -> Any:
    """From a folder or a file if there is one of that name, else to an older version that is still stored."""
    from subjects.optimizer import MODELS, RESTORE_MODELS, STORE_MODEL

    models = _read(Path(options.what), live=options.live) if options.what else None
    if models is None:
        body = {"name": options.what} | ({"version": options.version} if options.version else {})
        return await client.ask(RESTORE_MODELS, body)
    for data, live in models:
        await client.ask(STORE_MODEL, {"data": base64.b64encode(data).decode(), "live": live})
    return await client.ask(MODELS, {"all": True})


def _read(path: Path, *, live: bool) -> list[tuple[bytes, bool]] | None:
    """Versions and whether each was live, all verified before the first is sent; ``None`` if nothing is there.

    Raises:
        CorruptError: If a backup is not whole.
    """
    if not path.exists():
        return None
    if path.is_file():
        return [(path.read_bytes(), live)]
    found: list[tuple[bytes, bool]] = []
    try:
        for file in json.loads((path / INDEX).read_text())["files"]:
            data = (path / Path(file["file"]).name).read_bytes()
            if hashlib.sha256(data).hexdigest() != file["sha256"]:
                raise CorruptError(f"{path / file['file']} is not what was backed up", hint="take another copy")
            found.append((data, bool(file["live"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path} is no whole backup of models: {error}", hint="take another copy") from error
    return found


COMMAND = Command("model", "the models' versions, their backup and restore", "chimera model --all", _arguments, _run)
