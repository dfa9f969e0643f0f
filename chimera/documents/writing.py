"""The documents as files: written by a person, compared by a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from subjects import OPERATIONS, Port

from .asyncapi import asyncapi
from .openapi import openapi


def _openapi_of(port: Port) -> Callable[[], dict[str, Any]]:
    return lambda: openapi(port)


DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"openapi-{port.name.lower()}.json": _openapi_of(port)
        for port in Port
        if any(operation.port == port for operation in OPERATIONS)
    },
    "asyncapi.json": asyncapi,
}
"""File name to what makes its content: one OpenAPI per port that has operations, and one AsyncAPI."""


def render_document(document: dict[str, Any]) -> str:
    """A document as text: two spaces, keys in the document's own order, a newline at the end."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_documents(folder: Path) -> list[Path]:
    """Write every document into ``folder``; gives the files that changed."""
    changed: list[Path] = []
    for name, make in DOCUMENTS.items():
        path = folder / name
        text = render_document(make())
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed
