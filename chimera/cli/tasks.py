"""``chimera tasks``: durable tasks, one or many; cancel them, revive dead ones."""

from __future__ import annotations

import argparse
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from chimera.errors import BadMessageError

from .command import Command, Exit
from .output import emit_json, emit_line, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from .client import Client

_VERBS = ("list", "show", "cancel", "dead", "revive", "stuck")
_FINAL = frozenset({"succeeded", "dead", "cancelled", "expired", "unknown"})


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", default="list", choices=_VERBS, help="what to do (default: list)")
    parser.add_argument("id", nargs="?", default="", help="which task, or with dead which letter")
    parser.add_argument("--state", default="", help="queued, scheduled, running, succeeded, dead, cancelled or expired")
    parser.add_argument("--agent", default="", help="of this agent only")
    parser.add_argument("--label", default="", metavar="NAME=VALUE", help="with this label only")
    parser.add_argument("--reason", default="", metavar="TEXT", help="dead letters whose reason has this in it")
    parser.add_argument(
        "--follow", action="store_true", help="show what happens to tasks, or to the one named, as it happens"
    )
    parser.add_argument("--every", action="store_true", help="revive all dead tasks")
    parser.add_argument("--changes", action="store_true", help="show every change of the task's state too")
    parser.add_argument("--after", default="", metavar="ID", help="the rows that follow this one")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="most rows (default: 50)")


def _run(options: argparse.Namespace) -> int:
    from subjects import find_operation

    from .client import with_client

    if options.follow:
        with_client(load_settings(options).settings, lambda client: _follow(client, options))
        return Exit.DONE
    name, body = _order(options)
    operation = find_operation(f"scheduler.{name}")
    if operation is None:  # pragma: no cover - all of them are declared
        raise BadMessageError(f"there is no operation scheduler.{name}")
    answer = with_client(load_settings(options).settings, lambda client: client.ask(operation, body))
    if options.json or options.verb in {"show", "cancel"} or name == "letter":
        emit_json(answer)
    elif options.verb == "revive":
        note(f"{len(answer['ids'])} tasks are queued again")
    elif options.verb == "stuck":
        rows = [(row["id"], row["agent"], row["attempt"], row["running_s"], row["reason"]) for row in answer["tasks"]]
        table(("task", "agent", "attempt", "running s", "reason"), rows)
    else:
        _show(answer)
    return Exit.DONE


async def _follow(client: Client, options: argparse.Namespace) -> None:
    from .following import follow

    note("watching tasks; Ctrl-C ends")
    async with aclosing(follow(client, id=options.id, agent=options.agent)) as source:
        async for news in source:
            if options.json:
                emit_line(news)
            else:
                print(_line(news), flush=True)
            if options.id and news["state"] in _FINAL:
                return


def _line(news: dict[str, Any]) -> str:
    from datetime import datetime

    share = "" if news["progress"] is None else f"{news['progress']:.0%}"
    time = datetime.fromtimestamp(news["at"]).astimezone().strftime("%H:%M:%S")
    word = news["state"] if news["kind"] in {"state", "ended"} else news["kind"]
    number = f"#{news['attempt']}" if news["attempt"] else ""
    parts = (time, word, news["agent"], news["id"], number, share, news["note"], news["reason"])
    return " ".join(part for part in parts if part)


def _order(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    if options.verb in {"show", "cancel"}:
        if not options.id:
            raise BadMessageError("which task?", hint=f"chimera tasks {options.verb} ID")
        body = {"id": options.id, "changes": options.changes} if options.verb == "show" else {"id": options.id}
        return ("task" if options.verb == "show" else "cancel"), body
    common = {"agent": options.agent, "limit": options.limit, "label": options.label, "after": options.after}
    if options.verb == "list":
        return "tasks", {**common, "state": options.state}
    if options.verb == "stuck":
        return "stuck", {}
    if options.verb == "dead" and options.id:
        return "letter", {"id": options.id}
    if options.verb == "dead":
        return "dead", {**common, "reason": options.reason}
    which = {"id": options.id, "agent": options.agent, "reason": options.reason, "label": options.label}
    return "revive", {**which, "every": options.every}


def _show(page: dict[str, Any]) -> None:
    rows = [
        (row["id"], row["agent"], row["state"], row["priority"], f"{row['attempt']}/{row['max_attempts']}",
         row["age_s"], row["reason"])
        for row in page["tasks"]
    ]  # fmt: skip
    table(("task", "agent", "state", "priority", "attempt", "age s", "reason"), rows)
    if len(rows) < page["total"]:
        note(
            f"{len(rows)} of {page['total']}; more with --limit" + (f" or --after {page['next']}" * bool(page["next"]))
        )
    if page["missing"]:
        note(page["missing"])


COMMAND = Command(
    "tasks",
    "list, show, cancel durable tasks; see and revive dead ones",
    "chimera tasks --state dead",
    _arguments,
    _run,
)
