"""The least that a lease can cost: one compare-and-set publish into a JetStream stream, by hand (``URL``)."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import nats

from tests.bench.child import load, obey, run
from tests.bench.task_hand import ANSWER_S

SIZE = 512
"""Bytes of a record with a few grants."""

_STREAM, _SUBJECT = "BARE", "bench.bare"


async def main() -> None:
    """Connect, then obey."""
    client: Any = await nats.connect(sys.argv[1])  # pyright: ignore[reportUnknownMemberType] - nats-py's
    stream = client.jetstream()
    await stream.add_stream(name=_STREAM, subjects=[f"{_SUBJECT}.>"], max_msgs_per_subject=1)
    last = {"seq": (await stream.publish(f"{_SUBJECT}.d", b"first")).seq}

    async def swap(payload: bytes) -> bytes:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(last["seq"])}
        last["seq"] = (await stream.publish(f"{_SUBJECT}.d", payload, headers=headers)).seq
        return payload

    async def ask(concurrency: int, seconds: float) -> dict[str, Any]:
        assert concurrency == 1, "two of them would only lose races"
        with anyio.fail_after(seconds + ANSWER_S):
            return await load(swap, SIZE, concurrency, seconds)

    await obey({"ask": ask})
    await client.close()


if __name__ == "__main__":
    run(main)
