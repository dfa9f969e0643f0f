"""``chimera call ACTOR.VERB [JSON]``: ask any operation over NATS."""

from __future__ import annotations

import argparse
import json
import sys
from difflib import get_close_matches
from typing import Any

from chimera.errors import BadMessageError
from chimera.wire import decode_any
from subjects import OPERATIONS, Operation, find_operation

from .command import Command, Exit
from .output import emit_json, table
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("operation", nargs="?", metavar="ACTOR.VERB", help="such as agent.predict; none = list them")
    parser.add_argument("body", nargs="?", default="", metavar="JSON", help="the request; - reads standard input")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait (default: the operation's)")


def _run(options: argparse.Namespace) -> int:
    if not options.operation:
        return _list(as_json=options.json)
    operation = find(options.operation)
    body = _body(sys.stdin.read() if options.body == "-" else options.body, operation)
    from .client import with_client

    settings = load_settings(options).settings
    emit_json(with_client(settings, lambda client: client.ask(operation, body, timeout_s=options.timeout)))
    return Exit.DONE


def _body(text: str, operation: Operation[Any, Any]) -> Any:
    if not text.strip():
        return {}
    try:
        return decode_any(text.encode())
    except BadMessageError as error:
        example = json.dumps(operation.example)
        raise BadMessageError(f"the body is no JSON: {error.detail}", hint=f"write it as in: {example}") from error


def find(name: str) -> Operation[Any, Any]:
    """The operation of that name.

    Raises:
        BadMessageError: If there is none; the hint names the nearest.
    """
    operation = find_operation(name)
    if operation is None:
        near = get_close_matches(name, [known.name for known in OPERATIONS], n=1)
        raise BadMessageError(
            f"there is no operation {name!r}",
            hint=f"did you mean {near[0]}?" if near else "list them with: chimera call",
        )
    return operation


def _list(*, as_json: bool) -> int:
    if as_json:
        emit_json([{"name": one.name, "subject": one.subject, "summary": one.summary} for one in OPERATIONS])
    else:
        table(("operation", "what it does"), [(one.name, one.summary) for one in OPERATIONS])
    return Exit.DONE


COMMAND = Command(
    "call", "ask an operation over NATS", """chimera call agent.predict '{"job_id":"1","input":{"text":"terrible"}}'""",
    _arguments, _run,
)  # fmt: skip
