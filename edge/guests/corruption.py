"""Damaged modules, derived from a good one: what arrives over bad wires and from bad people."""

from __future__ import annotations

from itertools import pairwise

HEADER = b"\0asm\x01\0\0\0"
CODE_SECTION = 10


def corrupted(module: bytes) -> dict[str, bytes]:
    """Kind of damage to the damaged module. None of them is valid WebAssembly.

    Args:
        module: A valid core module with at least one function.
    """
    code = _section_start(module, CODE_SECTION)
    return {
        "empty": b"",
        "bad-magic": b"\x7fELF" + module[4:],
        "bad-version": HEADER[:4] + b"\x02\0\0\0" + module[8:],
        "component-version": HEADER[:4] + b"\x0d\0\x01\0" + module[8:],
        "text": b"(module)",
        "truncated-header": module[:6],
        "truncated-code": module[: code + (len(module) - code) // 3],
        "truncated-end": module[:-1],
        "trailing-garbage": module + b"\xff\xff\xff\xff",
        "section-too-long": module[: code + 1] + b"\xff\xff\xff\xff\x07" + module[code + 2 :],
        "flipped-opcodes": _flip_after(module, code + 8),
        "swapped-sections": _swap_sections(module),
    }


def sections(module: bytes) -> list[tuple[int, int, int]]:
    """(id, start, end) of each section of a valid module; ``start`` is where its id stands."""
    found: list[tuple[int, int, int]] = []
    at = len(HEADER)
    while at < len(module):
        size, content = _read_leb(module, at + 1)
        found.append((module[at], at, content + size))
        at = content + size
    return found


def _section_start(module: bytes, wanted: int) -> int:
    return next(start for kind, start, _ in sections(module) if kind == wanted)


def _flip_after(module: bytes, at: int) -> bytes:
    return module[:at] + bytes(byte ^ 0xFF for byte in module[at : at + 16]) + module[at + 16 :]


def _swap_sections(module: bytes) -> bytes:
    """The first two sections in the wrong order."""
    (_, first, middle), (_, _, end) = next(pairwise(sections(module)))
    return module[:first] + module[middle:end] + module[first:middle] + module[end:]


def _read_leb(module: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = module[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return value, at
