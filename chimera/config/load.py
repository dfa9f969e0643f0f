"""Settings from where people put them: flags, then variables, then a file, then a profile, then what ships."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from chimera.errors import BadSettingError
from chimera.paths import configs_dir, profile_names

from .secret import redact_text
from .settings import ROLES, Declared, Settings, declared
from .tree import parse_tree
from .variables import from_environment

_TREE = "supervision"
_NO_FLAGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force, and the origin of every one of them by its dotted name."""

    settings: Settings
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Raw values of one source. ``text`` is true where everything is a string."""

    values: dict[str, object]
    sources: dict[str, str]
    text: bool = False


def load(
    profile: str = "",
    file: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] = _NO_FLAGS,
    *,
    folder: Path | None = None,
) -> Loaded:
    """The settings in force: flags before variables before ``file`` before the profile before what ships.

    Args:
        profile: Name of a shipped profile; empty = ``CHIMERA_NODE__PROFILE``, else the file's ``node.profile``,
            else default.
        file: A TOML file of the user's.
        env: The environment.
        flags: Dotted names to values, from the command line; ``None`` values are left out.
        folder: Where the shipped profiles lie.

    Raises:
        BadSettingError: If a name is unknown (with the nearest one) or a value is not allowed (with its source).
    """
    known = {one.key: one for one in declared()}
    shipped = folder or configs_dir()
    given = _file_layer(Path(file), f"file {file}", known) if file is not None else _Layer({}, {})
    variables = _Layer(*from_environment(env, known), text=True)
    flagged = _flag_layer(flags, known)
    name = _profile_name(profile, flagged, variables, given, known)
    layers = [_file_layer(shipped / "default.toml", "default", known)]
    if name != "default":
        layers.append(_file_layer(_profile_path(shipped, name), f"profile {name}", known))
    layers += [given, variables, flagged]
    values, sources = _resolve(layers, known)
    values["node.profile"] = name
    if profile:
        sources["node.profile"] = "flag"
    _derive(values, sources, env)
    _check_together(values, sources)
    return Loaded(cast("Settings", _build(Settings, values, "")), MappingProxyType(sources))


def _profile_name(
    profile: str, flagged: _Layer, variables: _Layer, given: _Layer, known: Mapping[str, Declared]
) -> str:
    if profile:
        return profile
    for layer in (flagged, variables, given):
        if "node.profile" in layer.values:
            return str(_parse(known["node.profile"], layer))
    return "default"


def _profile_path(shipped: Path, name: str) -> Path:
    path = shipped / f"{name}.toml"
    names = profile_names(shipped)
    if name not in names:
        raise BadSettingError(f"there is no profile {name!r}", hint=f"the profiles are {', '.join(names)}")
    return path


def _file_layer(path: Path, source: str, known: Mapping[str, Declared]) -> _Layer:
    try:
        with path.open("rb") as opened:
            tables = tomllib.load(opened)
    except OSError as error:
        raise BadSettingError(f"{path} can't be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettingError(f"{path} is not TOML: {error}") from error
    values = dict(_flatten(tables, ""))
    for key in values:
        if key not in known and key != _TREE:
            raise unknown_setting(key, source, known)
    return _Layer(values, dict.fromkeys(values, source))


def _flag_layer(flags: Mapping[str, object], known: Mapping[str, Declared]) -> _Layer:
    values = {key: value for key, value in flags.items() if value is not None}
    for key in values:
        if key not in known:
            raise unknown_setting(key, "flag", known)
    return _Layer(values, dict.fromkeys(values, "flag"), text=True)


def _flatten(tables: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in tables.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key != _TREE:
            yield from _flatten(cast("dict[str, Any]", value), f"{key}.")
        else:
            yield key, value


def unknown_setting(key: str, source: str, known: Mapping[str, Declared]) -> BadSettingError:
    """The error for a name that is no setting, with the nearest one."""
    tails = {one.rsplit(".", 1)[-1]: one for one in known}
    tables = {one.rsplit(".", 1)[0] for one in known}
    near = get_close_matches(key, [*known, *tables], n=1) or [
        tails[tail] for tail in get_close_matches(key.rsplit(".", 1)[-1], list(tails), n=1)
    ]
    meant = f"; did you mean {near[0]}?" if near else ""
    return BadSettingError(f"{source}: there is no setting {key}{meant}")


def _resolve(layers: list[_Layer], known: Mapping[str, Declared]) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {key: one.default for key, one in known.items()}
    sources = dict.fromkeys(known, "default")
    tree: dict[str, Any] = {}
    for layer in layers:
        for key in layer.values:
            if key == _TREE:
                tree.update(_tree_table(layer))
                sources.update({f"{_TREE}.{name}": layer.sources[key] for name in _tree_table(layer)})
            else:
                values[key] = _parse(known[key], layer)
                sources[key] = layer.sources[key]
        _check_tree(tree, layer, values)
    return values, sources


def _tree_table(layer: _Layer) -> dict[str, Any]:
    table = layer.values[_TREE]
    if not isinstance(table, dict):
        raise BadSettingError(f"{layer.sources[_TREE]}: {_TREE} must be a table")
    return cast("dict[str, Any]", table)


def _check_tree(tree: dict[str, Any], layer: _Layer, values: dict[str, Any]) -> None:
    try:
        values[_TREE] = parse_tree(tree, ROLES)
    except ValueError as error:
        raise BadSettingError(f"{layer.sources.get(_TREE, 'default')}: {error}") from error


def _parse(one: Declared, layer: _Layer) -> Any:
    raw = layer.values[one.key]
    try:
        return one.kind.parse(raw, text=layer.text)
    except (ValueError, OverflowError) as error:
        shown = redact_text(repr(raw))
        raise BadSettingError(
            f"{one.key} is {shown} ({layer.sources[one.key]}); it must be {one.kind.allowed}"
        ) from error


def _derive(values: dict[str, Any], sources: dict[str, str], env: Mapping[str, str]) -> None:
    if not values["node.name"]:
        values["node.name"], sources["node.name"] = node_name(socket.gethostname()), "host's name"
    if values["node.data_dir"]:
        values["node.data_dir"] = str(Path(values["node.data_dir"]).expanduser())
    elif env.get("XDG_DATA_HOME"):
        values["node.data_dir"] = str(Path(env["XDG_DATA_HOME"]) / "chimera")
        sources["node.data_dir"] = "XDG_DATA_HOME"
    else:
        home = Path(env["HOME"]) if env.get("HOME") else Path.home()
        values["node.data_dir"] = str(home / ".local" / "share" / "chimera")
        sources["node.data_dir"] = "home folder"


def node_name(host: str) -> str:
    """The host's name as a valid subject token: ``pi-4.lan`` -> ``pi-4``; ``node`` if nothing is left."""
    first = host.split(".", 1)[0]
    token = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "-" for letter in first)
    return token.strip("-")[:64] or "node"


def _check_together(values: dict[str, Any], sources: dict[str, str]) -> None:
    taken: dict[int, str] = {}
    for key in [key for key in values if key.startswith("http.ports.")] + ["nats.port"]:
        port = values[key]
        if port and port in taken:
            raise BadSettingError(f"{key} is {port} ({sources[key]}), and so is {taken[port]}; give each its own port")
        taken[port] = key


def _build(section: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    arguments: dict[str, Any] = {}
    for one in fields(section):
        key = f"{prefix}{one.name}"
        nested = is_dataclass(one.default) and key not in values
        arguments[one.name] = _build(cast("Any", type(one.default)), values, f"{key}.") if nested else values[key]
    return section(**arguments)
