"""nats-py's client with its two hot paths replaced: what is sent and what arrives costs no queue, task or coroutine.

The library's way in is a regular expression per message, a queue and a task per subscription; its way out three
coroutines per message. Both are three quarters of what a message costs in Python. Here a message that arrives is framed
by searching for line ends and handed to its handler at once; one that is sent is appended to the library's outbound
buffer. Connecting, credentials, pings, errors and the flusher stay the library's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, ProtocolError
from nats.protocol.parser import Parser

from ._headers import read_headers, write_headers
from .contract import Delivery, Handler

_LONGEST_LINE = 1024 * 1024
_END = b"\r\n"


class WireClient(Client):
    """A client whose subscriptions are plain functions."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[int, Handler] = {}
        self._writing_soon = False
        self._ps = WireParser(self)

    async def listen(self, subject: str, queue: str, handler: Handler) -> int:
        """Subscribe. ``handler`` is called inside the read loop: it must only enqueue, and never raise.

        Returns:
            The number to ``unlisten`` with.

        Raises:
            ConnectionClosedError: If the client is closed.
        """
        if self.is_closed:
            raise ConnectionClosedError
        self._sid += 1
        sid = self._sid
        self._handlers[sid] = handler
        await self._send_command(f"SUB {subject} {queue} {sid}\r\n".encode())
        await self._flush_pending()
        return sid

    async def unlisten(self, sid: int, *, forget: bool = True) -> None:
        """Tell the server to send no more. ``forget`` = do not handle what is on its way either.

        Raises:
            ConnectionClosedError: If the client is closed.
        """
        if forget:
            self._handlers.pop(sid, None)
        if self.is_closed:
            raise ConnectionClosedError
        await self._send_unsubscribe(sid)

    def send(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None = None) -> None:
        """Publish: into the outbound buffer, which is written in the loop's next round.

        Raises:
            ConnectionClosedError: If the client is closed.
        """
        if self.is_closed:
            raise ConnectionClosedError
        size = len(data)
        if headers:
            block = write_headers(headers)
            head = f"HPUB {subject} {reply} {len(block)} {len(block) + size}\r\n".encode() + block
        else:
            head = f"PUB {subject} {reply} {size}\r\n".encode()
        pending = cast("list[bytes | bytearray]", self._pending)
        # one buffer: writing many small ones costs more than making them. The flusher takes the list away as a whole
        if pending and type(last := pending[-1]) is bytearray:
            last += head
        else:
            last = bytearray(head)
            pending.append(last)
        last += data
        last += _END
        self._pending_data_size += len(head) + size + 2
        stats = self.stats
        stats["out_msgs"] += 1
        stats["out_bytes"] += size
        if not self._writing_soon:
            self._writing_soon = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        """Hand the outbound buffer to the socket, or to the library's flusher while the socket has not taken all yet.

        The flusher waits for the socket, so that the buffer grows and senders see it; waking it each time costs more
        than the write.
        """
        self._writing_soon = False
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        if writer is not None and self.is_connected and not writer.transport.get_write_buffer_size():
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            writer.transport.writelines(pending)
            return
        flushes: asyncio.Queue[asyncio.Future[Any]] | None = self._flush_queue
        if flushes is not None and flushes.empty():
            flushes.put_nowait(asyncio.get_running_loop().create_future())

    def arrived(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None) -> None:
        """Hand a message on."""
        stats = self.stats
        stats["in_msgs"] += 1
        stats["in_bytes"] += len(data)
        handler = self._handlers.get(sid)
        if handler is not None:
            handler(Delivery(subject.decode(), data, reply.decode(), headers))

    async def _process_pong(self) -> None:
        """Take the answer to a ping that was given up: nats-py would set the cancelled future's result, and stop."""
        pongs = cast("list[asyncio.Future[bool]]", self._pongs)  # pyright: ignore[reportUnknownMemberType] - nats-py's
        if pongs and pongs[0].done():
            pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


class WireParser(Parser):
    """Frames what arrives. Messages go to the client; every other line, one at a time, to nats-py's own parser."""

    def __init__(self, client: WireClient) -> None:
        self._client = client
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType] - nats-py's

    def reset(self) -> None:
        """Forget what was read so far."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Take more bytes: whole messages and lines are dealt with, the rest is kept for the next time.

        Raises:
            ProtocolError: If they are no NATS.
        """
        if self._rest:
            data = self._rest + data
        start, client = 0, self._client
        try:
            while (stop := data.find(_END, start)) >= 0:
                line, body = data[start:stop], stop + 2
                if line.startswith(b"MSG "):  # here and not in a function: a call per message is a tenth of it
                    _, subject, sid, *reply, size = line.split()
                    end = body + int(size)
                    if end + 2 > len(data):
                        break
                    client.arrived(int(sid), subject, reply[0] if reply else b"", data[body:end], None)
                    start = end + 2
                elif line.startswith(b"HMSG "):
                    end = self._with_headers(line, data, body)
                    if end < 0:
                        break
                    start = end
                else:
                    await super().parse(data[start:body])
                    start = body
        except (ValueError, IndexError) as error:
            raise ProtocolError(f"nats: malformed message: {error}") from error
        if stop < 0 and len(data) - start > _LONGEST_LINE:
            raise ProtocolError("nats: a line without end")
        self._rest = data[start:]

    def _with_headers(self, line: bytes, data: bytes, body: int) -> int:
        """A message with headers, whose ``line`` ends before ``body``; where the next begins, or -1 if it is cut."""
        _, subject, sid, *reply, split, size = line.split()
        end, middle = body + int(size), body + int(split)
        if end + 2 > len(data):
            return -1
        headers = read_headers(data[body:middle])
        self._client.arrived(int(sid), subject, reply[0] if reply else b"", data[middle:end], headers)
        return end + 2
