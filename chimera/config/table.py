"""Every setting as a row: for the documents, for ``chimera config show``, and for the shipped file of defaults."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from .load import Loaded
from .secret import redact_text
from .settings import Settings, declared
from .variables import ALIASES


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for a table. ``default`` is a TOML literal; ``variables`` in order of precedence."""

    name: str
    default: str
    type: str
    allowed: str
    variables: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """One setting as it is in force, safe to show, and where it came from."""

    name: str
    value: str
    source: str


def settings_table() -> list[SettingRow]:
    """Every setting, in the order of the file of defaults."""
    aliases = {key: variable for variable, key in ALIASES.items()}
    return [
        SettingRow(
            name=one.key,
            default=one.kind.show(one.default),
            type=one.kind.name,
            allowed=one.kind.allowed,
            variables=(one.variable, *([aliases[one.key]] if one.key in aliases else [])),
            meaning=one.meaning,
        )
        for one in declared()
    ]


def in_force(loaded: Loaded) -> list[SettingInForce]:
    """Every value with its source, passwords in URLs hidden; the tree is shown as its children's ids."""
    rows = [
        SettingInForce(one.key, redact_text(one.kind.show(_value(loaded.settings, one.key))), loaded.sources[one.key])
        for one in declared()
    ]
    tree = loaded.settings.supervision
    children = ", ".join(child.id for child in tree.children)
    source = loaded.sources.get("supervision.children", "default")
    return [*rows, SettingInForce("supervision", f"{tree.id}: {tree.strategy}, {children or 'no children'}", source)]


def default_toml() -> str:
    """The scalar part of ``configs/default.toml``: every setting with its meaning, bounds and default."""
    sections: dict[str, list[str]] = {}
    for row in settings_table():
        section, _, name = row.name.rpartition(".")
        lines = sections.setdefault(section, [f"# {_title(section)}", f"[{section}]"])
        lines += [*textwrap.wrap(f"{row.meaning} ({row.allowed})", 116, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"{name} = {row.default}")
    return "\n\n".join("\n".join(lines) for lines in sections.values()) + "\n"


def _title(section: str) -> str:
    return (type(_value(Settings(), section)).__doc__ or section).splitlines()[0]


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value
