"""Genes on the command line: ``NAME=VALUE``, the value as JSON or as a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chimera.errors import BadMessageError


def genes_of(pairs: Sequence[str]) -> dict[str, Any]:
    """The genes of ``--gene`` options.

    Raises:
        BadMessageError: If one has no ``=``.
    """
    genes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadMessageError(f"--gene {pair}: write NAME=VALUE")
        try:
            genes[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            genes[name] = value
    return genes
