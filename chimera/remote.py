"""Asking over the bus, and being asked: the same errors, deadlines and cancellation as in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from subjects import PREFIX, Message, is_token, operation_of
from subjects.control import CANCEL, Cancel, node_subject

from .actor import HandlerSpec, reply_type, snake_case
from .bus.contract import Bus, Delivery, Subscription
from .errors import BadMessageError, ChimeraError, ConnectionLostError, NotRunningError, OverloadedError
from .exchange import RemoteAsk, RemoteSink, RemoteStream
from .ref import Ref, address_of, subject_prefix
from .turn import Turn
from .wire import check_body, codec_of, decode, encode, is_envelope, pack_request, unpack_request

if TYPE_CHECKING:
    from .cell import Cell
    from .system import System

MAX_REMOTE_TURNS = 100_000
"""Asks from elsewhere that may be open on a node at once, over all mailboxes."""

GRACE_S = 0.05
"""How long after the deadline the other side's word is waited for: it knows whether the work ran."""


class Remote:
    """The bus side of a system."""

    def __init__(self, system: System, bus: Bus) -> None:
        self.system = system
        self.bus = bus
        self.asks: set[RemoteAsk | RemoteStream] = set()
        self.turns: dict[str, Turn] = {}
        self.malformed = 0
        self.unanswered = 0
        self._subscriptions: list[Subscription] = []
        self._cells: dict[int, Subscription] = {}

    async def open(self) -> None:
        """Listen for messages addressed to this node, and for cancellations."""
        subscribe = self.bus.subscribe
        self._subscriptions = [
            await subscribe(f"{node_subject(self.system.node)}.*.*.*", self._to_node),
            await subscribe(CANCEL, self._on_cancel),
        ]
        self.bus.on_state(self._on_state)

    async def close(self) -> None:
        """Stop listening and fail what still waits."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        with suppress(ChimeraError):  # until the server knows, it sends asks here, where nobody answers any more
            await self.bus.flush(1.0)
        self._on_state("closed")

    async def listen(self, cell: Cell) -> None:
        """Take requests for a service actor (queue group: any instance) or an exposed keyed one."""
        name = cell.kind.actor_name
        subject = f"{PREFIX}.{name}.{cell.key}.*" if cell.key else f"{PREFIX}.{name}.*"
        queue = "" if cell.key else name
        self._cells[id(cell)] = await self.bus.subscribe(subject, partial(self._to_cell, cell), queue=queue)

    async def unlisten(self, cell: Cell) -> None:
        """Take no more; what is in the mailbox stays."""
        subscription = self._cells.pop(id(cell), None)
        if subscription is not None:
            await subscription.unsubscribe()

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(
        self, ref: Ref, message: Message, deadline: float, chain: tuple[str, ...], trace: str, *,
        leave: Callable[[], bool] | None = None,
    ) -> Any:  # fmt: skip
        """One answer from elsewhere."""
        ask = RemoteAsk(ref, reply_type(type(message)))
        system = self.system
        subject = subject_of(ref.actor, ref.key, ref.node, type(message))
        data = self._pack(message, deadline, chain, trace)
        reply = self.bus.open_reply(ask.take, subject)
        self.asks.add(ask)
        patience = deadline + GRACE_S
        system.deadlines.add(patience, ask)
        try:
            await self.bus.publish(subject, data, reply=reply)
            return await ask.future
        except asyncio.CancelledError:
            if leave is None or not leave():
                system.start_soon(self._cancel, reply)
            raise
        finally:
            if ask.streamed:
                system.start_soon(self._cancel, reply)
            system.deadlines.discard(patience, ask)
            self.asks.discard(ask)
            self.bus.close_reply(reply)

    async def tell(self, ref: Ref, message: Message, trace: str) -> None:
        """Send without an answer."""
        await self.bus.publish(
            subject_of(ref.actor, ref.key, ref.node, type(message)), self._pack(message, None, (), trace)
        )

    async def stream(
        self, ref: Ref, message: Message, deadline: float | None, chain: tuple[str, ...]
    ) -> AsyncGenerator[Any]:
        """A streamed answer from elsewhere; credit is given back every ``WINDOW`` elements."""
        stream = RemoteStream(ref, reply_type(type(message)), self.system.clock, self.system.deadlines)
        subject = subject_of(ref.actor, ref.key, ref.node, type(message))
        data = self._pack(message, deadline, chain, "")
        reply = self.bus.open_reply(stream.take, subject)
        self.asks.add(stream)
        patience = None if deadline is None else deadline + GRACE_S
        if patience is not None:
            self.system.deadlines.add(patience, stream)
        try:
            await self.bus.publish(subject, data, reply=reply)
            async for item, credit in stream:
                yield item
                if credit:
                    await self.bus.publish(credit, b"")
        finally:
            if not stream.over:
                self.system.start_soon(self._cancel, reply)
            if patience is not None:
                self.system.deadlines.discard(patience, stream)
            self.asks.discard(stream)
            self.bus.close_reply(reply)

    def _pack(self, message: Message, deadline: float | None, chain: tuple[str, ...], trace: str) -> bytes:
        clock = self.system.clock
        until = None if deadline is None else int((clock.time() + deadline - clock.monotonic()) * 1000)
        return pack_request(message, deadline=until, chain=chain, trace=trace)

    async def _cancel(self, reply: str) -> None:
        try:
            await self.bus.publish(CANCEL, encode(Cancel(id=reply)))
        except ChimeraError:
            return  # the other side has the deadline

    # -- being asked ---------------------------------------------------------------------------------------------------

    def _to_node(self, delivery: Delivery) -> None:
        _, _, _, actor, key, _ = delivery.subject.split(".")
        ref = Ref(self.system, actor, "" if key == "-" else key)
        cell = self.system.find_cell(ref)
        if cell is None:
            sink = RemoteSink(self, delivery.reply, is_envelope(delivery.data), codec_of(delivery.data))
            self._refuse(sink, NotRunningError(f"{ref} is not running on {self.system.node}"))
            return
        self._to_cell(cell, delivery)

    def _to_cell(self, cell: Cell, delivery: Delivery) -> None:
        data = delivery.data
        enveloped = is_envelope(data)
        sink = RemoteSink(self, delivery.reply, enveloped, codec_of(data))
        try:
            spec = cell.kind.verbs.get(delivery.subject.rpartition(".")[2])
            if spec is None:
                verbs = ", ".join(sorted(cell.kind.verbs))
                raise NotRunningError(f"{cell.address} has no {delivery.subject!r}", hint=f"it answers: {verbs}")
            turn = self._enveloped(spec, data) if enveloped else self._plain(spec, delivery)
            if delivery.reply:
                turn.sink = sink
                if len(self.turns) >= MAX_REMOTE_TURNS:
                    raise OverloadedError("too many open asks on this node", retry_after_s=0.1)
            cell.put(turn)
            if turn.sink is not None:
                self.turns[delivery.reply] = turn
                if turn.deadline is not None:
                    self.system.deadlines.add(turn.deadline, turn)
        except ChimeraError as error:
            if isinstance(error, BadMessageError):
                self.malformed += 1
            self._refuse(sink, error)

    def _enveloped(self, spec: HandlerSpec, data: bytes) -> Turn:
        envelope = unpack_request(data)
        check_body(envelope.message, "msgpack")
        message = decode(envelope.message, spec.message, "msgpack")
        deadline = None
        if envelope.deadline is not None:
            clock = self.system.clock
            deadline = clock.monotonic() + envelope.deadline / 1000 - clock.time()
        return Turn(message, spec, deadline=deadline, chain=envelope.chain, trace=envelope.trace)

    def _plain(self, spec: HandlerSpec, delivery: Delivery) -> Turn:
        check_body(delivery.data)
        message = decode(delivery.data, spec.message)
        operation = operation_of(spec.message)
        deadline = self.system.clock.monotonic() + (operation.timeout_s if operation else 5.0)
        trace = (delivery.headers or {}).get("traceparent", "")
        return Turn(message, spec, deadline=deadline, trace=trace)

    def _refuse(self, sink: RemoteSink, error: ChimeraError) -> None:
        self.system.start_soon(sink.error, error)

    def _on_cancel(self, delivery: Delivery) -> None:
        turn = self.turns.get(decode(delivery.data, Cancel).id)
        if turn is not None:
            turn.cancel()

    def _on_state(self, state: str) -> None:
        if state == "connected":
            return
        for ask in list(self.asks):
            ask.fail(ConnectionLostError(f"the connection to NATS was lost while {ask.target} was asked"))


@lru_cache(maxsize=4096)
def subject_of(actor: str, key: str, node: str, kind: type[Message]) -> str:
    """The subject that messages of this type have at this address.

    Raises:
        BadMessageError: If it is no address.
    """
    if not all(is_token(token) for token in (actor, key or "-", node or "-")):
        raise BadMessageError(
            f"{address_of(actor, key, node)} is no address", hint="names and keys match [A-Za-z0-9_-]{1,64}"
        )
    operation = operation_of(kind)
    return f"{subject_prefix(actor, key, node)}.{operation.verb if operation else snake_case(kind.__name__)}"
