"""``chimera agents``: list agents, and change them by releases."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path
from typing import Any

import msgspec

from chimera.errors import BadMessageError
from subjects import agent as contract

from .command import Command, Exit
from .genes import genes_of
from .output import emit_json, flatten_row, table
from .settings import load_settings

_LIST = ("name", "release", "state", "candidate", "in_flight", "p50_ms", "p95_ms", "error_rate", "accuracy", "breaker")


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "show", "register", "deploy", "rollback", "retire")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="default: list")
    parser.add_argument("name", nargs="?", default="", help="the agent")
    parser.add_argument("--module", metavar="FILE", help="register, deploy: the .wasm file")
    parser.add_argument("--manifest", metavar="FILE", help="register, deploy: the manifest (JSON)")
    parser.add_argument("--gene", metavar="NAME=VALUE", action="append", default=[], help="deploy: one parameter")
    parser.add_argument("--release", type=int, metavar="N", help="deploy: an existing release")
    parser.add_argument("--share", type=float, default=1.0, help="deploy: share of traffic; below 1 = candidate")
    parser.add_argument("--note", default="", help="kept with the release")


def _run(options: argparse.Namespace) -> int:
    from .client import with_client

    settings = load_settings(options).settings
    operation, body = _request(options)
    answer = with_client(settings, lambda client: client.ask(operation, body))
    if options.json:
        emit_json(answer)
    elif options.action == "list":
        table(_LIST, [flatten_row(_row(row), _LIST) for row in answer["agents"]])
    else:
        _show(answer)
    return Exit.DONE


def _request(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    if options.action == "list":
        return contract.LIST, {}
    if options.action == "register":
        body = {"module": _module(options.module), "manifest": _manifest(options.manifest), "note": options.note}
        return contract.REGISTER, {**body, "genome": genes_of(options.gene)}
    if not options.name:
        raise BadMessageError(f"chimera agents {options.action} needs the agent's name", hint="list: chimera agents")
    if options.action == "deploy":
        return contract.DEPLOY, _deploy(options)
    simple = {"show": contract.SHOW, "rollback": contract.ROLLBACK, "retire": contract.RETIRE}[options.action]
    note = {"note": options.note} if options.action == "rollback" else {}
    return simple, {"name": options.name, **note}


def _deploy(options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"name": options.name, "share": options.share, "note": options.note}
    if options.module:
        body["module"] = _module(options.module)
    if options.manifest:
        body["manifest"] = _manifest(options.manifest)
    if options.gene:
        body["genome"] = genes_of(options.gene)
    if options.release is not None:
        body["release"] = options.release
    return body


def _module(path: str | None) -> str:
    return base64.b64encode(_read(path, "--module")).decode()


def _manifest(path: str | None) -> Any:
    return msgspec.json.decode(_read(path, "--manifest"))


def _read(path: str | None, option: str) -> bytes:
    if not path:
        raise BadMessageError(f"{option} FILE is needed")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadMessageError(f"{option}: {path} can't be read: {error.strerror}") from error


def _row(row: dict[str, Any]) -> dict[str, Any]:
    candidate = row.get("candidate")
    shown = f"r{candidate['release']} at {candidate['share']:.0%}" if candidate else None
    return {
        **row,
        "release": f"r{row['release']}",
        "candidate": shown,
        "breaker": row["breaker"]["state"],
        "state": "live",
    }


def _show(view: dict[str, Any]) -> None:
    candidate = view.get("candidate")
    trial = f", candidate r{candidate['release']} at {candidate['share']:.0%}" if candidate else ""
    warm = f", warm r{view['previous']}" if view.get("previous") else ""
    print(f"{view['name']}: {view['state']}, live r{view['live']}{trial}{warm}")
    columns = ("release", "module", "parent", "created", "by", "note")
    table(columns, [
        (f"r{one['number']}", one["digest"][:12], one["parent"], one["created_at"], one["created_by"], one["note"])
        for one in view["releases"]
    ])  # fmt: skip


COMMAND = Command(
    "agents", "list agents; register, deploy, roll back, retire",
    "chimera agents deploy sentiment --gene capitals_increment=0.8 --share 0.1", _arguments, _run,
)  # fmt: skip
