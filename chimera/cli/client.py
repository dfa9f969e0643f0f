"""A short connection to a running system, with the operator's credentials of this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from chimera.config import Settings
from chimera.errors import (
    BusDownError,
    ChimeraError,
    DeadlineError,
    LayerNotRunningError,
    NotRunningError,
    from_problem,
)
from chimera.wire import decode, decode_any, encode
from subjects import Operation
from subjects.control import CANCEL, Cancel
from subjects.problem import Problem

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream

    from chimera.bus.contract import Bus, Delivery

T = TypeVar("T")
_UNREAD = 1000
_SILENCE_S = 40.0


class Client:
    """Asks operations by their plain JSON bodies, as anybody could."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def ask(self, operation: Operation[Any, Any], body: Any, *, timeout_s: float | None = None) -> Any:
        """The answer as plain data.

        Raises:
            ChimeraError: What the other side answered, or that nobody is there.
        """
        wait_s = operation.timeout_s if timeout_s is None else timeout_s
        try:
            answer = await self.bus.request(operation.subject, encode(body, "json"), timeout_s=wait_s)
        except NotRunningError as error:
            raise LayerNotRunningError(f"no node runs the {operation.actor} layer") from error
        raise_problem(answer)
        return decode_any(answer.data)

    async def stream(self, operation: Operation[Any, Any], body: Any) -> AsyncGenerator[dict[str, Any]]:
        """The elements of a streamed answer as plain data.

        Raises:
            ChimeraError: What the other side answered; ``DeadlineError`` if it fell silent.
        """
        import anyio

        send, receive = anyio.create_memory_object_stream[Any](_UNREAD)

        def take(delivery: Delivery) -> None:
            with suppress(anyio.WouldBlock):  # what is missed shows in the place that each element has
                send.send_nowait(delivery)

        reply = self.bus.open_reply(take, operation.subject)
        ended = False
        try:
            await self.bus.publish(operation.subject, encode(body, "json"), reply=reply)
            while not ended:
                delivery = await _next(receive)
                ended = not delivery.data
                if not ended:
                    yield decode_any(delivery.data)
        finally:
            self.bus.close_reply(reply)
            send.close()
            receive.close()
            if not ended:
                with anyio.move_on_after(1.0, shield=True), suppress(ChimeraError):
                    await self.bus.publish(CANCEL, encode(Cancel(id=reply)))


async def _next(receive: MemoryObjectReceiveStream[Delivery]) -> Delivery:
    import anyio

    with anyio.move_on_after(_SILENCE_S):
        delivery = await receive.receive()
        status = (delivery.headers or {}).get("Status", "")
        if status.startswith("503"):
            raise LayerNotRunningError("no node runs the layer that answers this")
        if status:
            raise BusDownError(f"the stream was cut: {status}")
        raise_problem(delivery)
        return delivery
    raise DeadlineError(f"nothing came for {_SILENCE_S:g} s", stage="running")


def raise_problem(answer: Delivery) -> None:
    """Raise the error that an answer carries, if it does."""
    if (answer.headers or {}).get("Nats-Service-Error-Code"):
        raise from_problem(decode(answer.data, Problem))


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[Client]:
    """A client of the system that these settings point to.

    Raises:
        BusDownError: If no server answers there, with what to do.
    """
    async with make_bus(settings) as bus:
        yield Client(bus)


def make_bus(settings: Settings) -> Bus:
    """A bus with the operator's credentials, not yet connected.

    Raises:
        BusDownError: If nothing was ever started in this data folder.
    """
    from chimera.bus.nats import NatsBus
    from chimera.server import read_context

    nats = settings.nats
    if nats.url:
        seed = Path(nats.seed_file).read_text().strip() if nats.seed_file else ""
        credentials = Path(nats.credentials) if nats.credentials else None
        servers = nats.url.split(",")
        return NatsBus(
            servers, name="chimera-cli", seed=seed, credentials=credentials, inbox_prefix=nats.inbox_prefix,
            connect_timeout_s=3.0,
        )  # fmt: skip
    context = read_context(settings.node.data, "operator")
    if context is None:
        raise BusDownError(
            f"nothing was ever started in {settings.node.data}",
            hint="start it with: chimera run; or say where it is with --data-dir or --nats-url",
        )
    seed = Path(context.nkey).read_text().strip()
    prefix = context.inbox_prefix
    return NatsBus(context.url, name="chimera-cli", seed=seed, inbox_prefix=prefix, connect_timeout_s=3.0)


def with_client(settings: Settings, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run ``work`` with a client, in an event loop of its own."""
    import anyio

    async def main() -> T:
        async with connected(settings) as client:
            return await work(client)

    try:
        return anyio.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a command should show: the first of our own, or the first of all."""
    ours: BaseException | None = group.subgroup(ChimeraError)
    return innermost(ours or group)


def innermost(error: BaseException) -> BaseException:
    """The first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
