"""``chimera genome``: look at stored genomes, check, deploy, go back, back up and bring back."""

from __future__ import annotations

import argparse
import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import BadMessageError, ChimeraError
from subjects import genome as contract

from .command import Command, Exit
from .generations import number
from .output import emit_json, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from chimera.config import Settings

    from .client import Client

_ACTIONS = ("list", "show", "validate", "deploy", "rollback", "backup", "restore")
_NEEDS = {"show": "a genome's id", "deploy": "a genome's id", "rollback": "an agent's name", "backup": "a file",
          "restore": "a file"}  # fmt: skip
_OF_AGENT = ("list", "validate", "rollback")
_PAGE = 500
_PART_BYTES, _PART_COUNT = 512 << 10, 500
"""Most bytes and records that are sent at once: as text they must fit into a message."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="default: list")
    parser.add_argument(
        "name", nargs="?", default="",
        help="list, validate: an agent; show, deploy: a genome; rollback: an agent; backup, restore: a file",
    )  # fmt: skip
    parser.add_argument("--evolution", default="", metavar="ID", help="list, validate: of this evolution only")
    parser.add_argument("--generation", type=int, metavar="N", help="list: of this generation only")
    parser.add_argument("--newest", action="store_true", help="list: the newest first, not the fittest")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="list: most rows (default: 50)")
    parser.add_argument("--offset", type=int, default=0, metavar="N", help="list: the rows that follow so many")
    parser.add_argument("--depth", type=int, default=20, metavar="N", help="show: how far back its lineage goes")
    parser.add_argument("--preview", action="store_true", help="rollback: only say what it would do")
    parser.add_argument("--agent", default="", help="list, validate, backup: of this agent only; rollback: of this one")
    parser.add_argument("--wait-approval", action="store_true", help="deploy: a person must agree to the promotion")
    parser.add_argument("--by", default="operator", help="who decides")
    parser.add_argument("--note", default="", help="kept with the decision")


def _run(options: argparse.Namespace) -> int:
    if options.action in _OF_AGENT:
        options.name = options.name or options.agent
    if options.action in _NEEDS and not options.name:
        raise BadMessageError(
            f"chimera genome {options.action} needs {_NEEDS[options.action]}", hint="see chimera genome --help"
        )
    settings = load_settings(options).settings
    if options.action == "backup":
        return _backup(settings, Path(options.name), options)
    if options.action == "restore":
        return _restore(settings, Path(options.name), options)
    from .client import with_client

    operation, body, show = _request(options)
    answer = with_client(settings, lambda client: client.ask(operation, body))
    emit_json(answer) if options.json else show(answer)
    failed = options.action == "validate" and answer["status"] != "pass"
    return Exit.FAILED if failed else Exit.DONE


def _request(options: argparse.Namespace) -> tuple[Any, dict[str, Any], Callable[[dict[str, Any]], None]]:
    name, by = options.name, {"by": options.by, "note": options.note}
    if options.action == "list":
        order = "newest" if options.newest else "fitness"
        body = {"agent": name, "evolution": options.evolution, "generation": options.generation, "order": order}
        return contract.GENOMES, {**body, "limit": options.limit, "offset": options.offset}, _list
    if options.action == "show":
        return contract.GENOME, {"id": name, "depth": options.depth}, _show
    if options.action == "validate":
        return contract.VALIDATE, {"agent": name, "evolution": options.evolution}, _verdict
    if options.action == "deploy":
        return contract.DEPLOY, {"id": name, "plan": {"approve": options.wait_approval}, **by}, _deployed
    if options.preview:
        return contract.PREVIEW_ROLLBACK, {"agent": name}, _way_back
    return contract.ROLLBACK, {"agent": name, **by}, _way_back


def _list(told: dict[str, Any]) -> None:
    head = ("genome", "agent", "generation", "operator", "fitness", "±", "values", "failure")
    table(head, [
        (one["id"], one["agent"], one["generation"], one["operator"], one["fitness"], one["half_width"],
         ", ".join(map(number, one["values"])), one["failure"])
        for one in told["genomes"]
    ])  # fmt: skip
    if len(told["genomes"]) < told["total"]:
        note(f"{len(told['genomes'])} of {told['total']}; more with --limit or --offset")


def _show(told: dict[str, Any]) -> None:
    one = told["genome"]
    rows = [
        ("agent", f"{one['agent']}, release {one['release']}"), ("evolution", one["evolution"]),
        ("bred", f"generation {one['generation']}, island {one['island']}, {one['operator']}, seed {one['seed']}"),
        ("fitness", f"{number(one['fitness'])} ± {number(one['half_width'])} on {one['tasks']} tasks"),
        ("checksum", one["checksum"]), *([("failure", one["failure"])] if one["failure"] else []),
    ]  # fmt: skip
    table(("genome", one["id"]), rows)
    print()
    genes = [(name, str(value), told["changes"]) for name, value in one["genes"].items()]
    table(("gene", "value", ""), [
        (name, value, "differs from the live one" if name in changed else "") for name, value, changed in genes
    ])  # fmt: skip
    print()
    table(("ancestor", "depth", "generation", "operator", "fitness", "parents"), [
        (each["id"], each["depth"], each["generation"], each["operator"], each["fitness"], ", ".join(each["parents"]))
        for each in told["ancestors"]
    ])  # fmt: skip
    if told["cut"]:
        note("it has more ancestors: --depth")
    for fault in told["faults"]:
        note(f"it can't be deployed: {fault}")


def _verdict(told: dict[str, Any]) -> None:
    words = f"{told['checked']} genomes of {told['evolutions']} evolutions in {told['seconds']:.2g} s"
    print(f"{told['status']}: {words}, {len(told['bad'])} bad, {len(told['missing'])} missing")
    rows = [(one["id"], "; ".join(one["faults"])) for one in told["bad"]]
    rows += [(id_, "it was stored, and is not there any more") for id_ in told["missing"]]
    if rows:
        table(("genome", "what is wrong"), rows)


def _deployed(told: dict[str, Any]) -> None:
    one = told["genome"]
    print(f"{one['id']} goes to the gate as a candidate of {one['agent']}: {len(told['changes'])} genes differ")
    note("see how it does: chimera experiment")


def _way_back(told: dict[str, Any]) -> None:
    print(f"{told['agent']}: {told['reason']}")
    rows = [("live", told["live"]), ("target", told["target"]), ("candidate", told["candidate"])]
    table(("release", ""), [*rows, ("genome of the target", told["genome"] or None)])
    if told["changes"]:
        print()
        table(("gene", "value then"), [(name, str(value)) for name, value in told["changes"].items()])
    if told["how"]:
        note(f"nothing was changed; do it with: chimera genome rollback {told['agent']}")


def _backup(settings: Settings, path: Path, options: argparse.Namespace) -> int:
    from .backup import write_backup
    from .client import with_client

    async def work(client: Client) -> tuple[list[bytes], dict[str, Any]]:
        records = await _exported(client, options.agent)
        return records, await client.ask(contract.VALIDATE, {"agent": options.agent})

    records, verdict = with_client(settings, work)
    count = write_backup(path, options.agent, time.time(), records)
    if options.json:
        emit_json({"file": str(path), "records": count, "validation": verdict})
    else:
        note(f"{count} genomes written to {path}")
    if verdict["status"] == "pass":
        return Exit.DONE
    note(f"not all that is stored is sound: {len(verdict['bad'])} bad, {len(verdict['missing'])} missing")
    note("a bad one would not be brought back; see: chimera genome validate")
    return Exit.FAILED


async def _exported(client: Client, agent: str) -> list[bytes]:
    from .progress import metered

    records, after = list[bytes](), 0
    with metered("genomes") as progress:
        while True:
            page = await client.ask(contract.EXPORT, {"agent": agent, "after": after, "limit": _PAGE})
            records += [base64.b64decode(one) for one in page["records"]]
            progress(len(records), page["total"])
            if page["next"] is None:
                return records
            after = page["next"]


def _restore(settings: Settings, path: Path, options: argparse.Namespace) -> int:
    from .backup import read_backup
    from .client import with_client

    backup = read_backup(path)

    async def work(client: Client) -> dict[str, Any]:
        from .progress import metered

        done: dict[str, Any] = {"restored": 0, "known": 0, "refused": []}
        sent = 0
        with metered("genomes") as progress:
            for part in _parts(backup.records):
                try:
                    told = await client.ask(
                        contract.RESTORE, {"records": [base64.b64encode(one).decode() for one in part]}
                    )
                except ChimeraError:
                    note(
                        f"{done['restored']} of {len(backup.records)} were restored before this; run it again to go on"
                    )
                    raise
                done = {name: done[name] + told[name] for name in done}
                sent += len(part)
                progress(sent, len(backup.records))
        return done

    done = with_client(settings, work)
    if options.json:
        emit_json(done)
    else:
        print(f"{done['restored']} restored, {done['known']} known already, {len(done['refused'])} refused")
        if done["refused"]:
            table(("genome", "why"), [(one["id"], "; ".join(one["faults"])) for one in done["refused"]])
    return Exit.FAILED if done["refused"] else Exit.DONE


def _parts(records: list[bytes]) -> list[list[bytes]]:
    parts, size = [list[bytes]()], 0
    for record in records:
        if parts[-1] and (len(parts[-1]) >= _PART_COUNT or size + len(record) > _PART_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += len(record)
    return parts if records else []


COMMAND = Command(
    "genome", "stored genomes: list, check, deploy, go back, back up", "chimera genome validate", _arguments, _run
)
