"""A stranger with nats-py, as the README shows it: nothing of ours is used but the files in the data folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from nats.aio.client import Client

from tests.support.running import RunningSystem

_msgpack: Any = msgpack


def pack(value: Any) -> bytes:
    """Plain msgpack."""
    return _msgpack.packb(value)


def unpack(data: bytes) -> Any:
    """Plain msgpack."""
    return _msgpack.unpackb(data)


@asynccontextmanager
async def stranger(system: RunningSystem, role: str = "client") -> AsyncGenerator[tuple[Any, list[str]]]:
    """A nats-py connection with the seed and the inbox prefix of a role, and the errors that the server told it."""
    client: Any = Client()
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error).lower())

    await client.connect(
        system.nats_url, nkeys_seed=str(system.data / "secrets" / f"{role}.nk"), inbox_prefix=f"_INBOX_{role}".encode(),
        error_cb=note, allow_reconnect=False,
    )  # fmt: skip
    try:
        yield client, errors
    finally:
        await client.close()
