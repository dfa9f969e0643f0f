"""Sticky assignment: which of two releases serves a key."""

from __future__ import annotations

from hashlib import blake2b

_SPAN = float(1 << 64)


def draw(agent: str, candidate: int, key: str) -> float:
    """The key's fixed place in [0, 1) for this trial; places of different trials are independent."""
    digest = blake2b(f"{agent}\0{candidate}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # 53 bits, so that the division is exact and never rounds up to 1
    return (int.from_bytes(digest, "big") >> 11 << 11) / _SPAN


def is_candidate(agent: str, candidate: int, key: str, share: float) -> bool:
    """True if the candidate serves this key at this share of traffic.

    The same key always gets the same answer, and raising ``share`` only moves keys from live to candidate.
    """
    return draw(agent, candidate, key) < share
