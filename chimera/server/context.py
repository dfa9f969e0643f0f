"""Ready-made contexts for the ``nats`` command, which our own command line reads too."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chimera.errors import BadSettingError
from subjects.agent import PREDICT

from .keys import seed_path
from .private import make_private_folder, read_private, write_private
from .roles import RoleName, roles
from .settings import ServerFiles

CONTEXT_ROLES: tuple[RoleName, ...] = ("client", "operator", "observer")
"""Roles that people use. The node's own is for the node."""

_DEPTH = ("nats", "context")


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a server as one role: the fields of a context file that we write."""

    description: str
    url: str
    nkey: str
    inbox_prefix: str


@dataclass(frozen=True, slots=True)
class Example:
    """Two lines to try: one with all that is needed in it, one by the context's name."""

    full: str
    by_context: str


def write_contexts(data_dir: Path, url: str) -> None:
    """Write one context per role below ``<data>/cli``, to be used with ``XDG_CONFIG_HOME=<data>/cli``.

    Nothing outside the data folder is touched: ``install_context`` does that, when it is asked to.

    Raises:
        BadSettingError: If a file can't be written.
    """
    home = ServerFiles(data_dir).cli
    make_private_folder(home)
    for role in CONTEXT_ROLES:
        _write(home, role, _make(data_dir, role, url))


def read_context(data_dir: Path, role: RoleName = "operator") -> Context | None:
    """How to reach the server that was last started in this data folder, or ``None`` if none ever was.

    Raises:
        BadSettingError: If the file can't be read as a context.
    """
    path = _path(ServerFiles(data_dir).cli, role)
    data = read_private(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Context)
    except msgspec.DecodeError as error:
        raise BadSettingError(
            f"node.data_dir: {path} is damaged: {error}", hint="delete it; the next start writes it again"
        ) from error


def install_context(data_dir: Path, role: RoleName = "client", config_home: Path | None = None) -> Path:
    """Copy a context to where the ``nats`` command looks for it, so that ``nats --context chimera-client`` just works.

    Call it only when the user asks: it writes outside the data folder.

    Args:
        data_dir: The node's data folder.
        role: Whose context.
        config_home: Configuration home; ``None`` = ``XDG_CONFIG_HOME`` or ``~/.config``.

    Raises:
        BadSettingError: If there is no context yet or it can't be written.
    """
    context = read_context(data_dir, role)
    if context is None:
        raise BadSettingError(f"node.data_dir: no server was ever started in {data_dir}", hint="start it: chimera run")
    home = config_home or Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    home.mkdir(parents=True, exist_ok=True)
    return _write(home, role, context)


def example_lines(data_dir: Path, url: str, role: RoleName = "client") -> Example:
    """A shell line that asks for a prediction with the ``nats`` command, in two forms."""
    context = _make(data_dir, role, url)
    ask = ["req", PREDICT.subject, json.dumps(PREDICT.example)]
    full = ["nats", "--server", url, "--nkey", context.nkey, f"--inbox-prefix={context.inbox_prefix}", *ask]
    named = ["nats", "--context", _name(role), *ask]
    home = shlex.quote(str(ServerFiles(data_dir).cli.absolute()))
    return Example(shlex.join(full), f"XDG_CONFIG_HOME={home} {shlex.join(named)}")


def _make(data_dir: Path, role: RoleName, url: str) -> Context:
    known = roles()[role]
    seed = seed_path(ServerFiles(data_dir).secrets, role).absolute()
    return Context(description=known.description, url=url, nkey=str(seed), inbox_prefix=known.inbox_prefix)


def _write(home: Path, role: RoleName, context: Context) -> Path:
    folder = home
    for part in _DEPTH:
        folder /= part
        if not folder.is_dir():
            make_private_folder(folder)
    path = _path(home, role)
    write_private(path, msgspec.json.format(msgspec.json.encode(context), indent=2) + b"\n")
    return path


def _path(home: Path, role: RoleName) -> Path:
    return home.joinpath(*_DEPTH, f"{_name(role)}.json")


def _name(role: RoleName) -> str:
    return f"chimera-{role}"
