"""Randomness by name: every draw is a function of the run's seed and of what it is for, so a log can be replayed."""

from __future__ import annotations

import hashlib
import struct

import numpy as np


def derive(seed: int, *path: int) -> int:
    """64 bits for a purpose, such as (seed, island, generation). Independent of platform and process."""
    return int.from_bytes(_digest(seed, path)[:8], "little")


def words(seed: int, *path: int) -> tuple[int, ...]:
    """Sixteen numbers of 32 bits for a purpose: all that the making of one genome needs, for half a microsecond."""
    return struct.unpack("<16I", _digest(seed, path))


def generator(seed: int, *path: int) -> np.random.Generator:
    """A generator of its own for a purpose."""
    return np.random.Generator(np.random.PCG64(derive(seed, *path)))


def _digest(seed: int, path: tuple[int, ...]) -> bytes:
    key = struct.pack(f"<{len(path) + 1}Q", *(part & 0xFFFF_FFFF_FFFF_FFFF for part in (seed, *path)))
    return hashlib.blake2b(key, digest_size=64).digest()
