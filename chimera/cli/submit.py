"""``chimera submit``: durable tasks, one or a file of them; run again after an interruption, nothing doubles."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import BadMessageError, ChimeraError

from .command import Command, Exit
from .output import complain, emit_json, emit_line, note
from .settings import load_settings

if TYPE_CHECKING:
    from .client import Client

_BATCH = 500
_BATCH_BYTES = 512 * 1024
_SOON_MS = 200
_FULL_PAUSE_S = 1.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="?", metavar="JSON", help="the task's input; - reads standard input")
    parser.add_argument(
        "--file", metavar="FILE", help="one task per line: a JSON object like the body of POST /api/tasks"
    )
    parser.add_argument("--agent", default="sentiment", help="who does it (default: sentiment)")
    parser.add_argument("--task", default="predict", help="which of its tasks (default: predict)")
    parser.add_argument("--id", default="", help="makes it repeatable: the same id is the same task")
    parser.add_argument("--priority", default="normal", choices=("critical", "high", "normal", "low", "background"))
    parser.add_argument("--key", default="", help="at most one unfinished task has this key")
    parser.add_argument("--attempts", type=int, default=3, metavar="N", help="how often it is tried (default: 3)")
    parser.add_argument("--wait", action="store_true", help="wait for the result and print it")


def _run(options: argparse.Namespace) -> int:
    if bool(options.file) == bool(options.input):
        raise BadMessageError("give either an input or --file", hint="""chimera submit '{"text":"good"}'""")
    from .client import with_client

    settings = load_settings(options).settings
    if options.file:
        tasks = read_tasks(Path(options.file))
        return with_client(settings, lambda client: _submit_file(client, tasks, wait=options.wait))
    return with_client(settings, lambda client: _submit_one(client, _one(options), options))


def _one(options: argparse.Namespace) -> dict[str, Any]:
    text = sys.stdin.read() if options.input == "-" else options.input
    return {
        "id": options.id, "agent": options.agent, "task": options.task, "input": _object(text, "the input"),
        "priority": options.priority, "key": options.key, "retries": {"attempts": options.attempts},
    }  # fmt: skip


def read_tasks(path: Path) -> list[dict[str, Any]]:
    """The tasks of a file. One without an id gets one made from its place and content, so that a second run repeats it.

    Raises:
        BadMessageError: If a line is no JSON object; its number is named.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadMessageError(f"{path} can't be read: {error.strerror}") from error
    tasks: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            task = _object(line.decode("utf-8", "replace"), f"line {number} of {path}")
            digest = hashlib.sha256(b"%d\n" % number + line.strip()).hexdigest()
            tasks.append({**task, "id": task.get("id") or f"f-{digest[:40]}"})
    return tasks


def batches(tasks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Tasks in groups that fit into one request each."""
    import msgspec

    made: list[list[dict[str, Any]]] = []
    size = 0
    for task in tasks:
        length = len(msgspec.json.encode(task))
        if not made or len(made[-1]) >= _BATCH or size + length > _BATCH_BYTES:
            made.append([])
            size = 0
        made[-1].append(task)
        size += length
    return made


async def _submit_one(client: Client, body: dict[str, Any], options: argparse.Namespace) -> int:
    from subjects.scheduler import SUBMIT

    answer = await client.ask(SUBMIT, body)
    task_id = answer["receipts"][0]["id"]
    if not options.wait:
        emit_json(answer["receipts"][0]) if options.json else print(task_id)
        return Exit.DONE
    done = await result_of(client, task_id)
    emit_json(done if options.json else done["output"])
    if done["state"] != "succeeded":
        complain(f"task {task_id} is {done['state']}: {done['reason']}")
    return Exit.DONE if done["state"] == "succeeded" else Exit.FAILED


async def result_of(client: Client, task_id: str) -> dict[str, Any]:
    """A task when it has ended, however long that takes, with its progress on standard error."""
    from subjects.scheduler import TASK

    from .following import until_ended

    while True:
        view = await client.ask(TASK, {"id": task_id, "wait_ms": _SOON_MS})
        if view["ended_at"] is not None:
            return view
        await until_ended(client, task_id)


async def _submit_file(client: Client, tasks: list[dict[str, Any]], *, wait: bool) -> int:
    from .progress import progress

    counts = {"accepted": 0, "duplicates": 0, "refused": 0}
    with progress(len(tasks), "tasks submitted") as advance:
        for batch in batches(tasks):
            receipts = await _insist(client, batch)
            for receipt in receipts:
                kind = "refused" if receipt["code"] else "duplicates" if receipt["duplicate"] else "accepted"
                counts[kind] += 1
                if receipt["code"]:
                    complain(f"{receipt['id']}: {receipt['detail']}", code=receipt["code"])
                advance()
    note(f"{counts['accepted']} accepted, {counts['duplicates']} were there already, {counts['refused']} refused")
    failed = counts["refused"]
    if wait:
        failed += await _collect(client, [task["id"] for task in tasks])
    return Exit.FAILED if failed else Exit.DONE


async def _collect(client: Client, ids: list[str]) -> int:
    from .progress import progress

    failed = 0
    with progress(len(ids), "tasks done") as advance:
        for task_id in ids:
            try:
                done = await result_of(client, task_id)
            except ChimeraError as error:
                complain(f"{task_id}: {error.detail}", code=error.code)
                failed += 1
                continue
            failed += done["state"] != "succeeded"
            emit_line({name: done[name] for name in ("id", "state", "output", "reason")})
            advance()
    return failed


async def _insist(client: Client, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Submit a batch; what a full queue refuses is offered again, which the ids make harmless."""
    import anyio

    from subjects.scheduler import SUBMIT

    while True:
        receipts: list[dict[str, Any]] = (await client.ask(SUBMIT, {"tasks": batch}, timeout_s=30.0))["receipts"]
        waits = [receipt["retry_after_s"] for receipt in receipts if receipt["code"] == "overloaded"]
        if not waits:
            return receipts
        await anyio.sleep(max(wait or _FULL_PAUSE_S for wait in waits))


def _object(text: str, what: str) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadMessageError(f"{what} is no JSON object: {error}") from error


COMMAND = Command(
    "submit", "store durable tasks, one or a file of them", """chimera submit '{"text":"I love this"}' --wait""",
    _arguments, _run,
)  # fmt: skip
