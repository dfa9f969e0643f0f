"""A value that outlives the process and is the same on every node: one key of the optimizer's bucket."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from chimera.bus.contract import Bus, KeyValue
from chimera.errors import CorruptError

BUCKET = "OPTIMIZER"
T = TypeVar("T")


class Kept(Generic[T]):
    """One typed value, as JSON that a person can read with ``nats kv get OPTIMIZER <key>``.

    Args:
        bus: Where the bucket is.
        key: Its name.
        kind: Type of the value.
    """

    def __init__(self, bus: Bus, key: str, kind: type[T]) -> None:
        self._bus, self._key = bus, key
        self._decode: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._bucket: KeyValue | None = None

    async def read(self) -> T | None:
        """The value, or ``None`` if there is none yet.

        Raises:
            CorruptError: If something else stands there.
        """
        entry = await (await self._open()).get(self._key)
        if entry is None or entry.value is None:
            return None
        try:
            return self._decode.decode(entry.value)
        except msgspec.DecodeError as error:
            raise CorruptError(f"{BUCKET}/{self._key} can't be read: {error}") from error

    async def write(self, value: T) -> None:
        """Replace the value; returns once it is durable."""
        await (await self._open()).put(self._key, msgspec.json.encode(value))

    async def delete(self) -> None:
        """Forget it."""
        await (await self._open()).delete(self._key)

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._bus.key_value(BUCKET)
        return self._bucket
