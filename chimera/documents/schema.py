"""JSON Schemas of messages, and the pieces that both documents share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from chimera.errors import ERRORS, ChimeraError
from subjects import Operation
from subjects.problem import Problem

Schema = dict[str, Any]
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
REFERENCE = "#/components/schemas/{name}"

GENERAL_ERRORS = (
    "bad-message", "not-running", "overloaded", "internal", "crashed", "unavailable", "restarting", "layer-not-running",
    "bus-down", "deadline", "cycle",
)  # fmt: skip
"""Codes that any operation can answer, on any face."""


def components(kinds: Iterable[type]) -> dict[str, Schema]:
    """Schemas of ``kinds``, of what they refer to, and of the problem, by name in alphabetical order."""
    _, found = msgspec.json.schema_components([*kinds, Problem], ref_template=REFERENCE)
    for schema in found.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
        _tell_base64(schema)
    return dict(sorted(found.items()))


def _tell_base64(schema: Any) -> None:
    """Say what base64 looks like wherever a string is it: ``contentEncoding`` alone is only an annotation."""
    if isinstance(schema, dict):
        children = cast("dict[str, Any]", schema)
        if children.get("contentEncoding") == "base64":
            children["pattern"] = BASE64
        for child in children.values():
            _tell_base64(child)
    elif isinstance(schema, list):
        for child in cast("list[Any]", schema):
            _tell_base64(child)


def reference(kind: type) -> Schema:
    """A reference to the schema of a message."""
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def error_codes(operation: Operation[Any, Any], extra: Iterable[str] = ()) -> list[str]:
    """Every code that an operation can answer with, sorted."""
    return sorted({*GENERAL_ERRORS, *operation.errors, *extra})


def by_status(codes: Sequence[str]) -> dict[int, list[type[ChimeraError]]]:
    """The errors behind ``codes``, grouped by HTTP status in ascending order."""
    groups: dict[int, list[type[ChimeraError]]] = {}
    for code in codes:
        groups.setdefault(ERRORS[code].status, []).append(ERRORS[code])
    return dict(sorted(groups.items()))


def unwrap_null(schema: Schema) -> Schema:
    """A property's schema without the ``null`` that only a body can carry, for a path or a query."""
    members = [member for member in schema.get("anyOf", []) if member != {"type": "null"}]
    if not members:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf" and (name, value) != ("default", None)}
    return {**members[0], **rest} if len(members) == 1 else {"anyOf": members, **rest}
