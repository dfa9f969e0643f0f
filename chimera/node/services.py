"""The services of a node, by the names that the supervision tree uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.config import Settings
from chimera.errors import BadMessageError, BadSettingError, UnavailableError
from chimera.hosted import Hosted
from chimera.system import System

from .parts import Parts

if TYPE_CHECKING:
    from chimera.audit import AuditLog
    from chimera.bus.contract import Bus
    from chimera.server import EmbeddedServer

    from .guard import Guard

KPI_STREAM = "KPI"


class ServerService:
    """The embedded nats-server; a death that nobody asked for is a failure, and the supervisor starts it again."""

    def __init__(self, server: EmbeddedServer, system: System) -> None:
        self.server = server
        self._system = system

    async def start(self) -> None:
        """Start it, and write the contexts for the ``nats`` command."""
        from chimera.server import write_contexts

        await self.server.start()
        write_contexts(self.server.files.data_dir, self.server.url)
        self._system.emit("server-started", None, self.server.url, pid=self.server.pid)

    async def wait(self) -> None:
        """Return after ``stop``.

        Raises:
            UnavailableError: If it died.
        """
        ended = await self.server.wait()
        if not ended.wanted:
            self._system.emit("server-died", None, str(ended), level="error")
            raise UnavailableError(str(ended))

    async def stop(self) -> None:
        """Stop it."""
        await self.server.stop()


class Absent:
    """A service that has nothing to do here: the server, when ``nats.url`` names one that runs elsewhere."""

    async def start(self) -> None:
        """Nothing to start."""

    async def wait(self) -> None:
        """Nothing that could end: wait until cancelled."""
        import anyio

        await anyio.sleep_forever()

    async def stop(self) -> None:
        """Nothing to stop."""


class Services:
    """Makes the node's services and keeps what they open in ``Parts``."""

    def __init__(self, system: System, parts: Parts) -> None:
        self._system = system
        self._parts = parts
        self.server: EmbeddedServer | None = None
        self.bridge: Any = None

    def factories(self, bridge: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
        """Service name to its factory."""
        return {
            "nats-server": self._make_server,
            "bus": lambda: Hosted(self._system, self.open_bus, opened=self._system.attach, closing=self._system.detach),
            "high-water": self._make_guard,
            "store": lambda: Hosted(self._system, self._open_store, opened=self._take_store),
            "audit": lambda: Hosted(self._system, self._open_audit, run=self._run_audit, closing=self._close_audit),
            "sandbox": lambda: Hosted(self._system, self._open_sandbox, opened=self._take_sandbox),
            "projector": lambda: Hosted(self._system, _nothing, run=self._project),
            "bridge": bridge,
        }

    # -- the server and the bus ----------------------------------------------------------------------------------------

    def _make_server(self) -> ServerService | Absent:
        settings = self._parts.settings
        if settings.nats.url:
            return Absent()
        from chimera.server import EmbeddedServer

        self.server = EmbeddedServer(server_settings(settings), clock=self._parts.clock)
        return ServerService(self.server, self._system)

    def open_bus(self) -> AbstractAsyncContextManager[Any]:
        """The bus, not yet connected: to our own server, or to the one of ``nats.url``.

        Raises:
            BadSettingError: If its settings can't work; the detail names the one.
        """
        settings = self._parts.settings
        common: dict[str, Any] = {
            "name": f"chimera-{settings.node.name}", "clock": self._parts.clock, "rng": self._parts.rng
        }  # fmt: skip
        if settings.nats.url:
            self._parts.bus = foreign_bus(settings, **common)
        elif settings.nats.replicas > 1:
            raise BadSettingError(
                f"nats.replicas: our own server is one, not {settings.nats.replicas}",
                hint="say with nats.url where your cluster is, or leave nats.replicas at 1",
            )
        else:
            server = self._need_server()
            self._parts.bus = own_bus(server, server.url, **common)
        self._parts.bus.on_state(self._bus_moved)
        return self._parts.bus

    def _bus_moved(self, state: str) -> None:
        """The first thing to look for when something failed: was the server there?"""
        level = "warning" if state == "disconnected" else "info"
        self._system.events("bus-state", "bus", state, level, {"state": state})

    def _need_server(self) -> EmbeddedServer:
        if self.server is None:
            raise BadSettingError("the tree has no nats-server before the bus", hint="set nats.url, or add nats-server")
        return self.server

    # -- the audit log -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open_audit(self) -> AsyncGenerator[AuditLog]:
        from chimera.audit import AnchorFile, AuditLog, Auditor

        parts = self._parts
        anchor = AnchorFile(parts.settings.node.data / "audit-anchor.json")
        parts.audit = log = AuditLog(parts.need("bus"), parts.clock, anchor)
        await log.open()
        self._system.auditor = Auditor(log, self._system.node, parts.clock)
        yield log

    async def _run_audit(self, log: AuditLog) -> None:
        await log.run()

    async def _close_audit(self) -> None:
        self._system.auditor = None

    def _make_guard(self) -> Guard:
        from .guard import Guard

        parts = self._parts
        folder, events = parts.settings.node.data, self._system.events
        parts.guard = Guard(lambda: parts.need("bus"), folder, parts.clock, events, every_s=_marks_s(parts.settings))
        return parts.guard

    # -- the store, the sandbox, the projector -------------------------------------------------------------------------

    def _open_store(self) -> AbstractAsyncContextManager[Any]:
        from chimera.store import open_store

        settings = self._parts.settings
        own = settings.store
        return open_store(own.url, settings.node.data, settings.nats.durability, connections=own.connections)

    async def _take_store(self, store: Any) -> None:
        self._parts.store = store

    def _open_sandbox(self) -> AbstractAsyncContextManager[Any]:
        from chimera.sandbox import SandboxSettings, create_sandbox

        own = self._parts.settings.sandbox
        folder = Path(own.cache_dir) if own.cache_dir else self._parts.settings.node.data / "cache" / "modules"
        settings = SandboxSettings(
            cache_dir=folder,
            workers=own.workers,
            memory_limit_bytes=own.memory_limit_bytes,
            max_waiting=own.max_waiting,
            allow_inline=own.allow_inline,
        )
        return create_sandbox(settings, self._parts.clock, self._system.events)

    async def _take_sandbox(self, sandbox: Any) -> None:
        self._parts.sandbox = sandbox

    async def _project(self, _: Any) -> None:
        from chimera.store import project

        parts = self._parts
        await project(
            parts.need("bus"),
            parts.need("store"),
            name=f"projector-{parts.settings.node.name}",
            clock=parts.clock,
            rng=parts.rng,
        )


class _nothing:  # noqa: N801 - an empty context manager under the name it is used by
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def _marks_s(settings: Settings) -> float:
    """SD cards are written to less often."""
    return 30.0 if settings.nats.durability == "wear" else 2.0


def own_bus(server: EmbeddedServer, url: str, **common: Any) -> Bus:
    """A bus to the server of this data folder, as the node itself, not yet connected."""
    from chimera.bus.nats import NatsBus

    seed = server.seed_path("runtime").read_text().strip()
    prefix = server.inbox_prefix("runtime")
    return NatsBus(url, seed=seed, inbox_prefix=prefix, most_bytes=server.stream_bytes, **common)


def foreign_bus(settings: Settings, **common: Any) -> Bus:
    """A bus to the server at ``nats.url``, not yet connected."""
    from chimera.bus.nats import NatsBus

    nats = settings.nats
    credentials = Path(nats.credentials) if nats.credentials else None
    prefix, seed = _inbox_prefix(nats.inbox_prefix), _seed(nats.seed_file)
    return NatsBus(
        nats.url.split(","), seed=seed, credentials=credentials, inbox_prefix=prefix, replicas=nats.replicas, **common
    )  # fmt: skip


def server_settings(settings: Settings) -> Any:
    """What the embedded server is told."""
    from chimera.server import ServerSettings

    nats = settings.nats
    durability: Any = nats.durability
    return ServerSettings(
        data_dir=settings.node.data,
        port=nats.port,
        server=nats.server,
        durability=durability,
        max_file_bytes=nats.max_file_bytes,
        max_memory_bytes=nats.max_memory_bytes,
    )


def _inbox_prefix(prefix: str) -> str:
    from chimera.bus.subject import check_subject

    try:
        check_subject(prefix)
    except BadMessageError as error:
        raise BadSettingError(
            f"nats.inbox_prefix: {error.detail}", hint="give a subject such as _INBOX, without a dot at its end"
        ) from error
    return prefix


def _seed(path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise BadSettingError(f"nats.seed_file: {path} can't be read: {error.strerror}") from error
