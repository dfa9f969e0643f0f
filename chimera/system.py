"""A node: the actors on it, the supervisors over them, and the way to everybody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from subjects import Message, Request, is_token, operation_of

from .actor import Actor
from .bus.contract import Bus
from .cell import Cell
from .children import ActorChild, Child, ServiceChild
from .clock import Clock, SystemClock
from .deadlines import Deadlines
from .errors import BadMessageError, BadSettingError, LayerNotRunningError, NotRunningError
from .events import Auditor, EventSink, ignore_events
from .liveness import Liveness
from .patience import Patience
from .pipe import Pipe
from .ref import Ref
from .remote import Remote
from .service import ServiceDirectory
from .supervision import ChildSpec, SupervisorSpec
from .supervisor import Supervisor
from .turn import Turn, current_turn
from .wire import decode, encode
from .workers import Workers

R = TypeVar("R")
Leave = Callable[[], bool]
DEFAULT_TIMEOUT_S = 5.0
USE_STREAM = "read it with stream(...) instead of ask(...)"


class System:
    """Runs actors on one node. Enter it, start a tree or spawn actors, ask them.

    ``bus`` is an entered ``Bus``, or ``None`` for a node that talks to nobody. Time and randomness are arguments, so
    that a simulation can own them. ``strict_local`` sends local messages through the codec and back, as tests should.

    Example:
        async with System() as system:
            ref = await system.spawn(Counter, start=40)
            print(await ref.ask(Add(by=2)))
    """

    def __init__(
        self,
        bus: Bus | None = None,
        *,
        node: str = "local",
        clock: Clock | None = None,
        rng: random.Random | None = None,
        events: EventSink = ignore_events,
        strict_local: bool = False,
        heartbeat_s: float = 1.0,
    ) -> None:
        if not is_token(node):
            raise BadSettingError(f"node name {node!r} must be 1 to 64 of A-Z a-z 0-9 _ -", hint="set node.name")
        self.node = node
        self.bus = bus
        self.clock: Clock = clock or SystemClock()
        self.rng = rng or random.Random()  # noqa: S311 - jitter, no secrets
        self.events = events
        self.auditor: Auditor | None = None
        self.deadlines = Deadlines(self.clock)
        self.patience = Patience(self.clock)
        self.workers = Workers(self._not_entered)
        self.strict_local = strict_local
        self.cells: dict[str, Cell] = {}
        self.started_at = self.clock.time()
        self.supervisor = Supervisor(self, SupervisorSpec("spawned"), self.make_child)
        self.root: Supervisor | None = None
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.stopping = False
        self.liveness = Liveness(self, heartbeat_s)
        self.remote: Remote | None = None
        self.start_soon: Callable[..., None] = self._not_entered
        self._directory: ServiceDirectory | None = None
        self._spawned = 0
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Open the node: its task group, its subjects on the bus, its heartbeat."""
        await self._stack.__aenter__()
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self.start_soon = cast("Callable[..., None]", self._tasks.start_soon)
        self.workers = Workers(self.start_soon)
        try:
            if self.bus is not None:
                await self.attach(self.bus)
            await self.supervisor.start(self._root_failed)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop everything in reverse order of start, then close."""
        with anyio.CancelScope(shield=True):
            await self.stop("node")
            await self.detach()
        self.deadlines.close()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        if isinstance(error, Exception):  # the caller's own failure: a task group would wrap it into a group
            await self._stack.__aexit__(None, None, None)
            return None
        return await self._stack.__aexit__(kind, error, trace)

    def _not_entered(self, *_: object) -> None:
        raise RuntimeError("enter the System first: async with System() as system")

    async def attach(self, bus: Bus) -> None:
        """Join an entered bus: this node's subjects, its service directory, its heartbeat."""
        self.bus = bus
        self.remote = Remote(self, bus)
        self._directory = ServiceDirectory(self, bus)
        await self.remote.open()
        await self._directory.open()
        await self.liveness.open()
        for cell in self.cells.values():
            if cell.exposed or not cell.key:
                await self.remote.listen(cell)

    async def detach(self) -> None:
        """Leave the bus; local actors go on. No effect on a node that is on none."""
        if self.remote is None or self._directory is None:
            return
        await self.liveness.close()
        await self._directory.close()
        await self.remote.close()
        self.bus = self.remote = self._directory = None

    # -- starting and stopping -----------------------------------------------------------------------------------------

    async def start(self, tree: SupervisorSpec) -> Supervisor:
        """Start a supervision tree: children in order, and stop them in reverse when the system ends.

        Raises:
            Exception: Whatever the first child that can't start raises; those before it are stopped again.
        """
        self.root = Supervisor(self, tree, self.make_child)
        await self.root.start(self._root_failed)
        return self.root

    async def stop(self, reason: str) -> None:
        """Drain and stop all actors and services; spawned ones first, then the tree, each in reverse order.

        For good: no actor can be started afterwards.
        """
        self.stopping = True
        await self.supervisor.stop(reason, 0)
        if self.root is not None:
            await self.root.stop(reason, 0)

    def force(self) -> None:
        """Wait for nothing any more: whatever is being stopped, or will be, is cut off. For a second Ctrl-C."""
        self.patience.lose()

    async def spawn(
        self,
        kind: type[Actor],
        *,
        key: str = "",
        exposed: bool = False,
        child: ChildSpec | None = None,
        **arguments: Any,
    ) -> Ref:
        """Start one actor under the node's default supervisor (one_for_one, permanent)."""
        self._spawned += 1
        spec = child or ChildSpec(f"{kind.actor_name}-{self._spawned}", kind, arguments, key=key, exposed=exposed)
        await self.supervisor.add(spec)
        return self.ref(kind.actor_name, key=spec.key)

    def make_child(self, spec: ChildSpec) -> Child:
        """An actor, or a service by its factory."""
        if isinstance(spec.start, type) and issubclass(spec.start, Actor):
            return ActorChild(self, spec)
        return ServiceChild(self, spec)

    def make_cell(
        self, kind: type[Actor], arguments: dict[str, Any] | Callable[[], dict[str, Any]], *, key: str, exposed: bool
    ) -> Cell:
        """The cell of an actor that is not installed yet."""
        if key and not is_token(key):
            raise BadSettingError(f"actor key {key!r} must be 1 to 64 of A-Z a-z 0-9 _ -")
        make = kind
        if callable(arguments):
            make = lambda: kind(**arguments())  # noqa: E731 - one of three ways to make the same thing
        elif arguments:
            make = lambda: kind(**arguments)  # noqa: E731 - the same
        return Cell(self, make, kind, key=key, exposed=exposed)

    async def install(self, cell: Cell) -> None:
        """Give a cell its address, here and on the bus."""
        name = _local_name(cell.kind.actor_name, cell.key)
        if self.cells.setdefault(name, cell) is not cell:
            raise BadSettingError(f"{name} already runs on {self.node}", hint="give it another key")
        if self.remote is not None and (cell.exposed or not cell.key):
            await self.remote.listen(cell)

    async def uninstall(self, cell: Cell) -> None:
        """Take nothing more from outside for it; local asks are answered until it stops."""
        if self.remote is not None:
            await self.remote.unlisten(cell)

    def cell_ended(self, cell: Cell, reason: str) -> None:
        """Forget a stopped cell and tell who watches it."""
        name = _local_name(cell.kind.actor_name, cell.key)
        if self.cells.get(name) is cell:
            del self.cells[name]
        self.liveness.ended(cell, reason)

    def _root_failed(self, error: BaseException | None) -> None:
        self.failure = error
        self.failed.set()

    # -- asking --------------------------------------------------------------------------------------------------------

    def ref(self, actor: str, *, key: str = "", node: str = "") -> Ref:
        """The address of an actor."""
        return Ref(self, actor, key, node)

    async def ask(
        self, message: Request[R], *, timeout_s: float | None = None, trace: str = "", leave: Leave | None = None
    ) -> R:
        """Ask the actor that declared this operation, wherever it runs.

        Args:
            message: The request.
            timeout_s: How long to wait; ``None`` = the operation's own.
            trace: A W3C traceparent.
            leave: Asked when the caller is cancelled: if it says so, the work goes on without it.

        Raises:
            LayerNotRunningError: If no node runs that actor.
        """
        operation = operation_of(type(message))
        if operation is None:
            raise NotRunningError(f"{type(message).__name__} is no declared operation; ask a ref")
        try:
            return await self.ask_ref(
                Ref(self, operation.actor), message, operation.timeout_s if timeout_s is None else timeout_s, trace,
                leave=leave,
            )  # fmt: skip
        except NotRunningError as error:
            if type(error) is NotRunningError and operation.actor not in self.cells:
                raise LayerNotRunningError(f"no node runs the {operation.actor} layer") from error
            raise

    async def tell(self, message: Message) -> None:
        """Tell the actor that declared this operation."""
        operation = operation_of(type(message))
        if operation is None:
            raise NotRunningError(f"{type(message).__name__} is no declared operation; tell a ref")
        await self.tell_ref(Ref(self, operation.actor), message)

    def stream(self, message: Request[R], *, timeout_s: float | None = None) -> AsyncIterator[R]:
        """Stream from the actor that declared this operation."""
        operation = operation_of(type(message))
        if operation is None:
            raise NotRunningError(f"{type(message).__name__} is no declared operation; stream from a ref")
        return self.stream_ref(Ref(self, operation.actor), message, timeout_s)

    async def ask_ref(
        self, ref: Ref, message: Request[R], timeout_s: float | None = None, trace: str = "", *,
        leave: Leave | None = None,
    ) -> R:  # fmt: skip
        """The one way of asking: local mailbox or bus, with deadline, chain and trace of the present turn."""
        parent = current_turn.get()
        deadline = self.clock.monotonic() + (DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s)
        chain: tuple[str, ...] = ()
        if parent is not None and parent.cell is not None:
            if parent.deadline is not None and parent.deadline < deadline:
                deadline = parent.deadline
            chain = (*parent.chain, parent.cell.address)
            trace = trace or parent.trace
        cell = self.find_cell(ref)
        if cell is None:
            return await self._need_remote(ref).ask(ref, message, deadline, chain, trace, leave=leave)
        return await self._ask_local(cell, message, deadline, chain, trace, leave=leave)

    async def _ask_local(
        self, cell: Cell, message: Any, deadline: float, chain: tuple[str, ...], trace: str, *, leave: Leave | None
    ) -> Any:
        if self.strict_local:
            message = _through_codec(message)
        spec = cell.spec_for(message)
        if spec.streams:
            raise BadMessageError(f"{cell.address} streams its answers to {type(message).__name__}", hint=USE_STREAM)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        turn = Turn(message, spec, future=future, deadline=deadline, chain=chain, trace=trace)
        self.deadlines.add(deadline, turn)
        try:
            cell.put(turn)
            return await future
        except asyncio.CancelledError:
            if self.stopping or leave is None or not leave():  # a node that stops waits for nobody's left work
                turn.cancel()
            raise
        finally:
            self.deadlines.discard(deadline, turn)
            turn.future = None
            del future  # an error's traceback holds this frame: a future that holds the error would close the circle

    async def tell_ref(self, ref: Ref, message: Message) -> None:
        """The one way of telling; carries the trace, not the deadline: nobody waits."""
        parent = current_turn.get()
        trace = parent.trace if parent is not None else ""
        cell = self.find_cell(ref)
        if cell is None:
            await self._need_remote(ref).tell(ref, message, trace)
            return
        if self.strict_local:
            message = _through_codec(message)
        cell.put(Turn(message, cell.spec_for(message), trace=trace))

    async def stream_ref(self, ref: Ref, message: Request[R], timeout_s: float | None = None) -> AsyncIterator[R]:
        """The one way of streaming.

        ``timeout_s`` bounds the whole stream (default: none beyond the turn's own); from another node each element
        must come within ``exchange.STALL_S`` of the one before.
        """
        parent = current_turn.get()
        deadline = None if timeout_s is None else self.clock.monotonic() + timeout_s
        chain: tuple[str, ...] = ()
        if parent is not None and parent.cell is not None:
            chain = (*parent.chain, parent.cell.address)
            if parent.deadline is not None:
                deadline = parent.deadline if deadline is None else min(deadline, parent.deadline)
        cell = self.find_cell(ref)
        if cell is not None:
            source: AsyncGenerator[Any] = self._stream_local(cell, message, deadline, chain)
        else:
            source = self._need_remote(ref).stream(ref, message, deadline, chain)
        async with aclosing(source):
            async for item in source:
                yield item

    async def _stream_local(
        self, cell: Cell, message: Any, deadline: float | None, chain: tuple[str, ...]
    ) -> AsyncGenerator[Any]:
        if self.strict_local:
            message = _through_codec(message)
        pipe = Pipe()
        turn = Turn(message, cell.spec_for(message), sink=pipe, deadline=deadline, chain=chain)
        if deadline is not None:
            self.deadlines.add(deadline, turn)
        try:
            cell.put(turn)
            async for item in pipe:
                yield item
        finally:
            turn.cancel()
            if deadline is not None:
                self.deadlines.discard(deadline, turn)

    def find_cell(self, ref: Ref) -> Cell | None:
        """The cell behind a ref if it is on this node."""
        if ref.node and ref.node != self.node:
            return None
        cell = self.cells.get(_local_name(ref.actor, "" if ref.key == "-" else ref.key))
        if cell is None and ref.node:
            raise NotRunningError(f"{ref} is not running")
        return cell

    def _need_remote(self, ref: Ref) -> Remote:
        if self.remote is None:
            raise NotRunningError(f"{ref} is not running")
        return self.remote

    # -- events --------------------------------------------------------------------------------------------------------

    def emit(
        self, name: str, kind: type[Actor] | None, message: str = "", *, level: str = "info", **fields: Any
    ) -> None:
        """Write a line to the event log, under the layer of the actor class or of the node."""
        self.events(name, kind.layer if kind else "node", message, level, fields)


def _through_codec(message: Any) -> Any:
    kind = cast("type[Any]", type(message))
    return decode(encode(message), kind, "msgpack")


def _local_name(actor: str, key: str) -> str:
    return f"{actor}/{key}" if key else actor
