"""Randomness by name: every draw is a function of the run's seed and of what it is for, so a log can be replayed."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

_WORDS = struct.Struct("<16I")


def derive(seed: int, *path: int) -> int:
    """64 bits for a purpose, such as (seed, island, generation): no part negative, the same on any machine."""
    return int.from_bytes(_digest(seed, path)[:8], "little")


def words(seed: int, *path: int) -> tuple[int, ...]:
    """Sixteen numbers of 32 bits for a purpose: all that the making of one genome needs, for half a microsecond."""
    return _WORDS.unpack(_digest(seed, path))


def generator(seed: int, *path: int) -> np.random.Generator:
    """A generator of its own for a purpose."""
    return np.random.Generator(np.random.PCG64(derive(seed, *path)))


_KEYS = [struct.Struct(f"<{count}Q") for count in range(1, 8)]


def _digest(seed: int, path: tuple[int, ...]) -> bytes:
    return hashlib.blake2b(_KEYS[len(path)].pack(seed & 0xFFFF_FFFF_FFFF_FFFF, *path)).digest()
