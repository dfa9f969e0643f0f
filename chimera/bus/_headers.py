"""A block of NATS headers as bytes, and back (ADR-4): ``NATS/1.0[ status[ description]]`` and one line per header."""

from __future__ import annotations

from collections.abc import Mapping

_FIRST = "NATS/1.0"


def write_headers(headers: Mapping[str, str]) -> bytes:
    """The block. Names and values must have been checked, see ``subject.header_size``."""
    lines = [_FIRST, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def read_headers(block: bytes) -> dict[str, str] | None:
    """What a block says, ``None`` if nothing. A status becomes the headers ``Status`` and ``Description``.

    Lines that are no header are left out; bytes that are no UTF-8 are replaced.
    """
    first, *lines = block.split(b"\r\n")
    headers: dict[str, str] = {}
    status, _, description = first[len(_FIRST) :].strip().decode("utf-8", "replace").partition(" ")
    if status.isdigit():
        headers["Status"] = status
        if description:
            headers["Description"] = description
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and len(name.split()) == 1:
            headers[name.decode()] = value.strip().decode("utf-8", "replace")
    return headers or None
