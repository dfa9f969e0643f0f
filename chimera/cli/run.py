"""``chimera run``: start a node, say what runs where, serve until told to stop."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from chimera.errors import ChimeraError

from .command import Command, Exit
from .output import complain, emit_line, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from chimera.config import Settings
    from chimera.node import Node


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nats-server", metavar="FILE", help="the nats-server program to start (nats.server)")
    parser.add_argument("--store", metavar="URL", help="where projections are kept (store.url, CHIMERA_STORE)")


def _run(options: argparse.Namespace) -> int:
    import anyio

    from chimera.logs import setup_logging

    for key, value in (("nats.server", options.nats_server), ("store.url", options.store)):
        if value:
            options.set.append(f"{key}={value}")
    settings = load_settings(options).settings
    _make_data_folder(settings)
    with setup_logging(settings):
        return anyio.run(_main, settings, options.json, backend_options={"use_uvloop": _has_uvloop()})


async def _main(settings: Settings, as_json: bool) -> int:  # noqa: FBT001 - anyio.run passes positions
    import anyio

    stop = anyio.Event()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_signals, stop, group.cancel_scope)
            code = await _serve(settings, stop, as_json=as_json)
            group.cancel_scope.cancel()
            return code
    except BaseExceptionGroup as group:
        return _explain(group)
    return Exit.INTERRUPTED


async def _serve(settings: Settings, stop: Any, *, as_json: bool) -> int:
    from chimera.node import Node

    async with Node(settings) as node:
        _announce(node, as_json=as_json)
        await node.run(stop)
        note("stopping (again to force)")
    return Exit.INTERRUPTED if _stopped_by.get("signal") == signal.SIGINT else Exit.DONE


_stopped_by: dict[str, int] = {}


async def _signals(stop: Any, scope: Any) -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.is_set():
                complain("forced: not everything was drained")
                sys.stderr.flush()
                os._exit(Exit.INTERRUPTED if number == signal.SIGINT else Exit.FAILED)
            _stopped_by["signal"] = number
            stop.set()
            if not _announced:
                scope.cancel()


_announced: list[bool] = []


def _announce(node: Node, *, as_json: bool) -> None:
    _announced.append(True)
    rows = node.rows()
    if as_json:
        emit_line({"node": node.node(), "services": rows, "http": node.http_urls()})
        return
    settings = node.settings
    columns = ("service", "state", "where")
    title = f"chimera {node.node()}  (data {settings.node.data}, durability {settings.nats.durability})"
    table(columns, [(row["name"], row["state"], row["where"]) for row in rows], title=title, stream=sys.stderr)
    for line in _hints(node):
        note(line)


def _hints(node: Node) -> list[str]:
    urls = node.http_urls()
    base = urls.get("agent", "")
    body = '{"job_id":"health-check","input":{"text":"I love this, it works great!"}}'
    lines = [f"  docs  {base}/openapi.json    metrics  {base}/metrics"] if base else []
    if base:
        lines.append(f"  try   curl -X POST {base}/predict -d {shlex.quote(body)}")
    if node.services.server is not None:
        from chimera.server import example_lines

        lines.append(f"  nats  {example_lines(node.settings.node.data, node.services.server.url).full}")
    return [*lines, "  Ctrl-C drains and stops"]


def _make_data_folder(settings: Settings) -> None:
    from chimera.errors import BadSettingError

    folder = settings.node.data
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise BadSettingError(
            f"node.data_dir: {folder} can't be written: {error.strerror}",
            hint="choose another folder with --data-dir or CHIMERA_NODE__DATA_DIR",
        ) from error


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    ours, others = group.split(ChimeraError)
    if others is not None and others.subgroup(KeyboardInterrupt) is None:
        raise others
    error: BaseException | None = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ChimeraError):
        complain(error.detail, hint=error.hint, code=error.code)
        return error.exit_code
    return Exit.INTERRUPTED


def _has_uvloop() -> bool:
    from importlib.util import find_spec

    return find_spec("uvloop") is not None


COMMAND = Command("run", "start a node and serve until Ctrl-C", "chimera run --data-dir ./data", _arguments, _run)
