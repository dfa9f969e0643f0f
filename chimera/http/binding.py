"""From an HTTP request to a typed message: path, query and body merged into the request's struct, strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect as shapes

from chimera import wire
from chimera.errors import BadMessageError, MediaTypeError
from subjects import MAX_DEPTH, Message, Operation

M = TypeVar("M", bound=Message)

MAX_QUERY_FIELDS = 32
_FORM = "application/x-www-form-urlencoded"
_long_number = re.compile(rb"[0-9]{19}")
_PATH_PART = re.compile(r"{(\w+)}")
_MIN_INT, _MAX_INT = -(1 << 63), (1 << 64) - 1


def path_fields(path: str) -> tuple[str, ...]:
    """The ``{name}`` parts of a route's path."""
    return tuple(_PATH_PART.findall(path))


def body_limit(request: type[Message], limit: int) -> int:
    """Largest body of a request: ``limit``, and on top of it the base64 of every bounded ``bytes`` field."""
    return limit + sum(_blob_bytes(field.type) for field in _fields(request))


def check_media_type(content_type: bytes | None) -> None:
    """Refuse a body that says it is something else than JSON.

    No type at all and the type of an HTML form are taken for JSON: ``curl -d`` sends the latter.

    Raises:
        MediaTypeError: If it is anything else.
    """
    if content_type is None or content_type == b"application/json":
        return
    kind = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if kind not in {"", "application/json", _FORM} and not (kind.startswith("application/") and kind.endswith("+json")):
        raise MediaTypeError(f"the body is {kind}; only JSON is taken")


class Binding(Generic[M]):
    """Makes messages of one operation out of what one of its routes receives."""

    def __init__(self, operation: Operation[M, Any], path: str) -> None:
        self.kind: type[M] = operation.request
        self.names = path_fields(path)
        self._lists = frozenset(field.encode_name for field in _fields(operation.request) if _holds_list(field.type))

    def from_query(self, query: bytes, path: Mapping[str, str]) -> M:
        """The message of a GET or DELETE.

        Raises:
            BadMessageError: The detail names the field.
        """
        if not query and not path:
            return wire.decode(b"{}", self.kind, "json")
        fields = self._merge(self._parse(query), path)
        try:
            return msgspec.convert(fields, self.kind, strict=False)
        except msgspec.ValidationError as error:
            raise BadMessageError(str(error)) from error

    def from_body(self, body: bytes, query: bytes, path: Mapping[str, str]) -> M:
        """The message of a POST or PUT; an empty body stands for ``{}``.

        Raises:
            BadMessageError: The detail names the field.
        """
        if query:
            raise BadMessageError("this takes its fields from the body; the query string must be empty")
        body = body or b"{}"
        if path:
            fields = self._merge(wire.decode(body, dict[str, Any], "json"), path)
            try:
                message = msgspec.convert(fields, self.kind)
            except msgspec.ValidationError as error:
                raise BadMessageError(str(error)) from error
        else:
            message = wire.decode(body, self.kind, "json")
        if body.count(b"{") + body.count(b"[") > MAX_DEPTH or _long_number.search(body):
            _check_free_fields(message)
        return message

    def _parse(self, query: bytes) -> dict[str, Any]:
        try:
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
            )
        except (ValueError, UnicodeDecodeError) as error:
            raise BadMessageError(f"the query string can't be read: {error}") from error
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in self._lists:
                fields.setdefault(name, []).append(value)
            elif name in fields:
                raise BadMessageError(f"`{name}` is given twice")
            else:
                fields[name] = value
        return fields

    def _merge(self, fields: dict[str, Any], path: Mapping[str, str]) -> dict[str, Any]:
        for name, value in path.items():
            if fields.get(name, value) != value:
                raise BadMessageError(f"`{name}` is {value!r} in the path and something else beside it")
            fields[name] = value
        return fields


def _check_free_fields(message: Message) -> None:
    for name in message.__struct_fields__:
        value = getattr(message, name)
        wire.check_depth(value, MAX_DEPTH - 1)
        _check_numbers(name, value)


def _check_numbers(name: str, value: Any) -> None:
    stack = [value]
    while stack:
        item: Any = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] - decoded JSON
        elif isinstance(item, list):
            stack.extend(item)  # pyright: ignore[reportUnknownArgumentType] - decoded JSON
        elif isinstance(item, msgspec.Struct):
            stack.extend(getattr(item, field) for field in item.__struct_fields__)
        elif isinstance(item, int) and not _MIN_INT <= item <= _MAX_INT:
            raise BadMessageError(f"an integer of more than 64 bits - in `$.{name}`")


def _fields(kind: type[Message]) -> tuple[shapes.Field, ...]:
    shape = shapes.type_info(kind)
    return shape.fields if isinstance(shape, shapes.StructType) else ()


def _members(shape: shapes.Type) -> tuple[shapes.Type, ...]:
    if isinstance(shape, shapes.Metadata):
        return _members(shape.type)
    if isinstance(shape, shapes.UnionType):
        return tuple(member for part in shape.types for member in _members(part))
    return (shape,)


def _blob_bytes(shape: shapes.Type) -> int:
    sizes = [part.max_length for part in _members(shape) if isinstance(part, shapes.BytesType)]
    return sum((size or 0) * 4 // 3 + 4 for size in sizes)


def _holds_list(shape: shapes.Type) -> bool:
    return any(isinstance(part, shapes.ListType | shapes.SetType | shapes.VarTupleType) for part in _members(shape))
