"""A whole node: the supervision tree of the settings, with all it needs, in one process."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Any, Self, cast

import anyio

from chimera._version import __version__
from chimera.clock import Clock, SystemClock
from chimera.config import Settings, redact_text
from chimera.errors import ChimeraError, LayerNotRunningError, NotRunningError
from chimera.events import EventSink
from chimera.logs import log_event
from chimera.metrics import Metrics, observe_process
from chimera.supervision import ChildSpec, SupervisorSpec
from chimera.supervisor import ChildRow, Supervisor
from chimera.system import System
from chimera.threads import one_thread_each
from subjects import Port, Request, operation_of

from .observe import observe_actors, observe_parts
from .parts import Parts
from .runfile import remove_run_file, write_run_file
from .services import Services
from .status import NodeActor
from .tree import build_tree


class Node:
    """Enter it to start everything; leave it to stop everything in reverse order.

    It is the bridge's ``Caller`` (it asks actors) and its ``Probe`` (it knows how the node does).

    Raises (on entering):
        BadSettingError: A setting can't work; the detail names it.
        StartError: Something is in the way: a busy port, a taken folder, an old server.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        events: EventSink | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        one_thread_each()
        self.settings = settings
        chosen = clock or SystemClock()
        sink = events or log_event
        self.metrics = Metrics(node=settings.node.name)
        self.system = System(node=settings.node.name, clock=chosen, rng=rng, events=sink)
        self.parts = Parts(
            settings=settings, clock=chosen, rng=self.system.rng, metrics=self.metrics, sources=dict(sources or {})
        )
        self.services = Services(self.system, self.parts)
        self._events = sink
        self._draining = False
        self._ready = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start the tree."""
        settings = self.settings
        tree = build_tree(
            settings.supervision, settings.node.roles, self.services.factories(self._make_bridge), self.parts
        )
        await self._stack.__aenter__()
        try:
            await self._stack.enter_async_context(self.system)
            status = ChildSpec("node", NodeActor, {"owner": self})
            await self.system.start(_with_status(tree, status))
            self._observe()
            self._write_run_file()
        except BaseException as error:
            await self._stack.__aexit__(type(error), error, error.__traceback__)
            raise
        self._ready = True
        self.system.emit("node-started", None, f"{settings.node.name} {__version__}", roles=list(settings.node.roles))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Drain and stop."""
        self._draining = True
        self.system.emit("node-stopping", None, "draining")
        try:
            return await self._stack.__aexit__(kind, error, trace)
        finally:
            remove_run_file(self.settings.node.data)

    async def run(self, stop: anyio.Event) -> None:
        """Serve until ``stop`` is set.

        Raises:
            StartError: If the root supervisor gave up.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_on_failure, stop)
            await stop.wait()
            group.cancel_scope.cancel()
        if self.system.failure is not None:
            raise self.system.failure

    async def _stop_on_failure(self, stop: anyio.Event) -> None:
        await self.system.failed.wait()
        stop.set()

    # -- the bridge's caller and probe ---------------------------------------------------------------------------------

    async def ask(self, message: Request[Any], *, timeout_s: float | None = None, trace: str = "") -> Any:
        """Ask the actor that answers this operation, wherever it runs."""
        return await self.system.ask(message, timeout_s=timeout_s, trace=trace)

    async def stream(self, message: Request[Any], *, timeout_s: float | None = None) -> AsyncGenerator[Any]:
        """Stream from the actor that answers this operation, wherever it runs.

        Raises:
            LayerNotRunningError: If no node runs that actor.
        """
        try:
            async with aclosing(
                cast("AsyncGenerator[Any]", self.system.stream(message, timeout_s=timeout_s))
            ) as source:
                async for item in source:
                    yield item
        except NotRunningError as error:
            operation = operation_of(type(message))
            if type(error) is NotRunningError and operation and operation.actor not in self.system.cells:
                raise LayerNotRunningError(f"no node runs the {operation.actor} layer") from error
            raise

    async def readiness(self) -> dict[str, str]:
        """Check name to ``ok`` or what is wrong: each from a real round trip now."""
        return {"bus": await self._check_bus(), "store": await self._check_store(), "tree": self._check_tree()}

    def node(self) -> str:
        """The node's name."""
        return self.system.node

    def alarms(self) -> dict[str, str]:
        """What is wrong though requests can be served: streams that went back."""
        guard = self.parts.guard
        return guard.marks.texts if guard is not None else {}

    def is_ready(self) -> bool:
        """True once the node has started and until it drains."""
        return self._ready and not self._draining

    async def _check_bus(self) -> str:
        bus = self.parts.bus
        if bus is None:
            return "not started"
        state = bus.statistics().state
        if state != "connected":
            return state
        try:
            await bus.flush(2.0)
        except ChimeraError as error:
            return error.detail
        return "ok"

    async def _check_store(self) -> str:
        store = self.parts.store
        if store is None:
            return "not started"
        try:
            with anyio.fail_after(2.0):
                return await store.check()
        except (ChimeraError, TimeoutError) as error:
            return str(error) or "no answer within 2 s"

    def _check_tree(self) -> str:
        bad = [row.spec.id for row in self._leaves() if row.state != "running"]
        return f"not running: {', '.join(bad)}" if bad else "ok" if self.system.root else "not started"

    # -- for people ----------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """What runs where: one row per actor and service of the tree, in order of start."""
        return [
            {"name": row.spec.id, "state": row.state, "restarts": row.restarts, "where": self._where(row.spec.id),
             "cause": row.cause}
            for row in self._leaves()
        ]  # fmt: skip

    def _leaves(self, supervisor: Supervisor | None = None) -> Iterator[ChildRow]:
        top = supervisor or self.system.root
        for row in top.rows.values() if top is not None else ():
            if isinstance(row.child, Supervisor):
                yield from self._leaves(row.child)
            else:
                yield row

    def _where(self, name: str) -> str:
        settings = self.settings
        places = {
            "nats-server": self.services.server.url if self.services.server else settings.nats.url,
            "store": redact_text(settings.store.url) or str(settings.node.data / "chimera.sqlite"),
            "bridge": ", ".join(self.http_urls().values()),
            "bus": self.parts.bus.statistics().url if self.parts.bus else "",
            "audit": "stream AUDIT, anchor in audit-anchor.json",
            "projector": "stream KPI into the store",
            "high-water": "watches that no stream goes back",
            "historian": "stream TASKS into the store",
            "sandbox": f"{self.parts.sandbox.statistics().workers} worker processes" if self.parts.sandbox else "",
        }
        cell = self.system.cells.get(name.replace("-", "_"))
        return places.get(name) or (f"chimera.{cell.kind.actor_name}.*" if cell is not None else "")

    def http_urls(self) -> dict[str, str]:
        """Base URL of every port that is served, by role."""
        bridge = self.services.bridge
        if bridge is None:
            return {}
        host = self.settings.http.host
        shown = f"[{host}]" if ":" in host else "localhost" if host == "127.0.0.1" else host
        return {port.name.lower(): f"http://{shown}:{number}" for port, number in bridge.ports.items()}

    # -- assembly ------------------------------------------------------------------------------------------------------

    def _make_bridge(self) -> Any:
        from chimera.http import Bridge

        self.services.bridge = Bridge(
            self, self, bridge_settings(self.settings),
            metrics=self.metrics, clock=self.parts.clock, store=self.parts.store, events=self._events,
        )  # fmt: skip
        return self.services.bridge

    def _observe(self) -> None:
        observe_process(self.metrics)
        observe_actors(self.metrics, self.system)
        observe_parts(self.metrics, self.parts)

    def _write_run_file(self) -> None:
        server = self.services.server
        url = server.url if server is not None else self.settings.nats.url
        write_run_file(self.settings.node.data, node=self.system.node, nats_url=url, http=self.http_urls())


def bridge_settings(settings: Settings) -> Any:
    """What the bridge is told: the ports of the roles that this version can serve."""
    from chimera.http import BridgeSettings
    from subjects import OPERATIONS

    http = settings.http
    served = {operation.port for operation in OPERATIONS}
    numbers = {port: getattr(http.ports, port.name.lower()) for port in Port if port in served}
    token: Any = http.token
    return BridgeSettings(
        host=http.host,
        ports=numbers,
        token=token,
        data=settings.node.data,
        max_body_bytes=http.max_body_bytes,
        body_timeout_s=http.body_timeout_s,
        header_timeout_s=http.header_timeout_s,
        connections_per_address=http.connections_per_address,
        idempotency_keep_s=http.idempotency_keep_s,
    )


def _with_status(tree: SupervisorSpec, status: ChildSpec) -> SupervisorSpec:
    """The tree with the node's own actor first: it needs nothing, and answers until the end."""
    return dataclasses.replace(tree, children=(status, *tree.children))
