"""``chimera run``: start a node, say what runs where, serve until told to stop."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import ChimeraError

from .command import Command, Exit
from .output import complain, emit_line, note, table
from .settings import load_settings

if TYPE_CHECKING:
    from chimera.config import Loaded, Settings
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
    loaded = load_settings(options)
    _make_data_folder(loaded.settings)
    with setup_logging(loaded.settings) as logging:

        def announce(node: Node) -> None:
            logging.flush()
            _announce(node, as_json=options.json)

        return anyio.run(_main, loaded, announce, backend_options={"use_uvloop": _has_uvloop()})


async def _main(loaded: Loaded, announce: Callable[[Node], None]) -> int:
    import anyio

    stop = anyio.Event()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_signals, stop, group.cancel_scope)
            code = await _serve(loaded, stop, announce)
            group.cancel_scope.cancel()
            return code
    except BaseExceptionGroup as group:
        return _explain(group)
    return Exit.INTERRUPTED


async def _serve(loaded: Loaded, stop: Any, announce: Callable[[Node], None]) -> int:
    from chimera.interpreter import calm
    from chimera.node import Node

    async with Node(loaded.settings, sources=loaded.sources) as node:
        calm()
        announce(node)
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
    title = f"chimera {node.node()}   data {settings.node.data}   durability {settings.nats.durability}"
    table(columns, [(row["name"], row["state"], row["where"]) for row in rows], title=title, stream=sys.stderr)
    note("\n".join(_hints(node)))


def _hints(node: Node) -> list[str]:
    settings = node.settings
    base = node.http_urls().get("agent", "")
    lines = ["", "  try"]
    if base:
        lines.append(f"    curl -X POST {base}/predict -d {_body('1', 'I love this!')}")
    lines.append(f"    {_program()} call agent.predict {_body('2', 'terrible')} {_where(settings)}")
    if node.services.server is not None:
        home = shlex.quote(str(settings.node.data.absolute() / "cli"))
        ask = f"req chimera.agent.predict {_body('3', 'not bad at all')}"
        lines.append(f"    XDG_CONFIG_HOME={home} nats --context chimera-client {ask}")
    if base:
        lines += ["  read", f"    {base}/openapi.json   {base}/metrics   {base}/health/agents"]
    return [*lines, "  Ctrl-C drains and stops; a second one forces", ""]


def _body(job_id: str, text: str) -> str:
    return shlex.quote(f'{{"job_id":"{job_id}","input":{{"text":"{text}"}}}}')


def _program() -> str:
    """How the command is typed here: by its name if the shell finds it, else by its path."""
    if shutil.which("chimera"):
        return "chimera"
    beside = Path(sys.executable).with_name("chimera")
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m chimera"
    return shlex.quote(str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside))


def _where(settings: Settings) -> str:
    if settings.nats.url:
        return f"--nats-url {shlex.quote(settings.nats.url)}"
    return f"--data-dir {shlex.quote(str(settings.node.data))}"


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
