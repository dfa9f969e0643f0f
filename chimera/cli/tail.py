"""``chimera tail [SUBJECT]``: watch events and task records as they happen."""

from __future__ import annotations

import argparse

from chimera.errors import BadMessageError
from chimera.wire import decode_any

from .command import Command, Exit
from .output import emit_line, note
from .settings import load_settings

MAX_BUFFER = 10_000


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "subject", nargs="?", default="chimera.event.>", help="subject or pattern (default %(default)s)"
    )
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N messages (default: never)")


def _run(options: argparse.Namespace) -> int:
    from .client import Client, with_client

    async def watch(client: Client) -> None:
        import anyio

        from chimera.bus.contract import Delivery

        send, receive = anyio.create_memory_object_stream[Delivery](MAX_BUFFER)
        dropped = 0

        def take(delivery: Delivery) -> None:
            nonlocal dropped
            try:
                send.send_nowait(delivery)
            except anyio.WouldBlock:
                dropped += 1

        await client.bus.subscribe(options.subject, take)
        await client.bus.flush()
        note(f"watching {options.subject}; Ctrl-C ends")
        seen = 0
        async for delivery in receive:
            emit_line({"subject": delivery.subject, "data": _readable(delivery.data)})
            seen += 1
            if seen == options.count:
                break
        if dropped:
            note(f"{dropped} messages came too fast and were not shown")

    with_client(load_settings(options).settings, watch)
    return Exit.DONE


def _readable(data: bytes) -> object:
    try:
        return decode_any(data)
    except BadMessageError:
        return data.decode("utf-8", "replace")


COMMAND = Command("tail", "watch events as they happen", "chimera tail 'chimera.kpi.*'", _arguments, _run)
