"""Idempotency-Key: a repeated POST or DELETE gets the answer of the first one and runs nothing.

Same key and same request: the stored answer. Same key and another request: 422. While the first one runs: 409. Only
definitive answers are kept: a success, or an error of work that ran. After any other answer the key is free again.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict

from chimera.clock import Clock
from chimera.errors import BadMessageError, ChimeraError, ConflictError, KeyReusedError, OverloadedError
from chimera.store.contract import Remembered, Store

MAX_KEPT = 1024
MAX_KEPT_BYTES = 16 << 20
MAX_IN_FLIGHT = 1024
_KEY = re.compile(rb"[\x21-\x7e]{1,128}\Z")


def read_key(header: bytes) -> str:
    """The key of an Idempotency-Key header.

    Raises:
        BadMessageError: If it is not 1 to 128 visible ASCII characters.
    """
    if not _KEY.match(header):
        raise BadMessageError("Idempotency-Key must be 1 to 128 visible ASCII characters")
    return header.decode("ascii")


def fingerprint(method: str, path: str, query: bytes, body: bytes) -> str:
    """What makes two requests the same one."""
    digest = hashlib.sha256(f"{method} {path}\0{len(query)}\0".encode())
    digest.update(query)
    digest.update(body)
    return digest.hexdigest()


def is_definitive(error: ChimeraError) -> bool:
    """True if the work ran and asking again would not change the answer."""
    return error.executed == "maybe" and error.status < 500 and error.code != "cancelled"  # noqa: PLR2004 - server errors


class Memory:
    """The answers given under a key: the newest in memory, all in the store where there is one.

    Args:
        clock: Tells the age of answers.
        store: Keeps them across a restart; ``None`` = memory only.
        keep_s: How long an answer is kept, in seconds.
    """

    def __init__(self, clock: Clock, store: Store | None = None, *, keep_s: float = 86_400.0) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._store = store
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._bytes = 0
        self._in_flight: set[str] = set()

    async def claim(self, key: str, digest: str) -> Remembered | None:
        """The stored answer, or ``None`` after taking the key: then ``release`` it, whatever happens.

        Raises:
            KeyReusedError: If it was used for another request.
            ConflictError: If its first request still runs.
            UnavailableError: If the store can't be asked; nothing was run.
        """
        if key in self._in_flight:
            raise ConflictError("the first request with this Idempotency-Key still runs", retry_after_s=1.0)
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise OverloadedError("too many requests with an Idempotency-Key run", retry_after_s=1.0)
        self._in_flight.add(key)
        entry = None
        is_free = False
        try:
            entry = await self._find(key)
            is_free = entry is None
        finally:
            if not is_free:
                self._in_flight.discard(key)
        if entry is not None and entry.body_digest != digest:
            raise KeyReusedError
        return entry

    def release(self, key: str) -> None:
        """Give a claimed key back."""
        self._in_flight.discard(key)

    async def keep(self, entry: Remembered) -> None:
        """Keep a definitive answer.

        Raises:
            UnavailableError: If the store failed; memory has it then.
        """
        self._insert(entry)
        if self._store is not None:
            await self._store.remember(entry, keep_s=self._keep_s)

    async def _find(self, key: str) -> Remembered | None:
        entry = self._kept.get(key)
        if entry is None and self._store is not None:
            entry = await self._store.remembered(key)
        if entry is not None and self._clock.time() - entry.at > self._keep_s:
            self._drop(key)
            return None
        return entry

    def _insert(self, entry: Remembered) -> None:
        self._drop(entry.key)
        self._kept[entry.key] = entry
        self._bytes += len(entry.body)
        while len(self._kept) > MAX_KEPT or (self._bytes > MAX_KEPT_BYTES and len(self._kept) > 1):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        entry = self._kept.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.body)
