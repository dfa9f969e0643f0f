"""The bridge as a service: every port in one process, started and stopped as one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
from anyio import to_thread
from uvicorn import Server

from chimera.clock import Clock
from chimera.errors import StartError
from chimera.events import EventSink, ignore_events
from chimera.metrics import Metrics
from chimera.store.contract import Store
from subjects import Port

from .app import build_app
from .auth import ensure_token
from .contract import Caller, Probe
from .ledger import Ledger
from .protocol import GuardedConfig
from .settings import LAYERS, BridgeSettings
from .streaming import Streams

_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class _Listening:
    server: Server
    socket: socket.socket


class Bridge:
    """Serves the HTTP ports of a node.

    ``start`` listens and returns; ``wait`` must then run: it keeps the servers' clocks going until ``stop``::

        async with anyio.create_task_group() as tasks:
            await bridge.start()
            tasks.start_soon(bridge.wait)
            ...
            await bridge.stop()

    It installs no signal handlers.

    Args:
        caller: Asks actors.
        probe: Knows how the node does.
        settings: Address, ports, limits.
        store: Keeps answers for Idempotency-Keys; ``None`` = memory only.
        metrics: Where requests are counted, and what ``/metrics`` shows.
        clock: Time.
        events: Takes the bridge's lines of the event log.
    """

    def __init__(
        self,
        caller: Caller,
        probe: Probe,
        settings: BridgeSettings,
        *,
        metrics: Metrics,
        clock: Clock,
        store: Store | None = None,
        events: EventSink = ignore_events,
    ) -> None:
        self._caller = caller
        self._probe = probe
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._events = events
        self._listening: dict[Port, _Listening] = {}
        self._streams = Streams()
        self._ledger = Ledger(settings.connections, settings.connections_per_address, metrics)

    @property
    def ports(self) -> Mapping[Port, int]:
        """The real port numbers by role, once started."""
        return {port: at.socket.getsockname()[1] for port, at in self._listening.items()}

    async def start(self) -> None:
        """Take every port, make the token if there is none, and listen.

        Raises:
            StartError: If a port is taken or may not be used; the detail names its setting. Nothing listens then.
            BadSettingError: If the token can't be made or read.
        """
        sockets = self._bind()
        try:
            token = await to_thread.run_sync(ensure_token, self._settings.data)
            for port, taken in sockets.items():
                self._listening[port] = _Listening(await self._serve(port, taken, token), taken)
        except BaseException:
            await self.stop()
            for taken in sockets.values():
                taken.close()
            raise
        self._warn_if_open()

    async def wait(self) -> None:
        """Keep serving until ``stop``."""
        async with anyio.create_task_group() as tasks:
            for at in self._listening.values():
                tasks.start_soon(at.server.main_loop)

    async def stop(self) -> None:
        """Stop listening, end streams, let running requests end within ``drain_s``, then cancel them."""
        servers = [(at.server, at.socket) for at in self._listening.values()]
        self._listening = {}
        self._streams.close()
        for server, _ in servers:
            server.should_exit = True
        with anyio.move_on_after(self._settings.drain_s + 2.0, shield=True):
            async with anyio.create_task_group() as tasks:
                for server, taken in servers:
                    tasks.start_soon(server.shutdown, [taken])

    def _bind(self) -> dict[Port, socket.socket]:
        sockets: dict[Port, socket.socket] = {}
        try:
            for port, number in self._settings.ports.items():
                sockets[port] = _listen(self._settings.host, number, f"http.ports.{port.name.lower()}")
        except BaseException:
            for taken in sockets.values():
                taken.close()
            raise
        return sockets

    async def _serve(self, port: Port, taken: socket.socket, token: str) -> Server:
        app = build_app(
            port, self._caller, self._probe, self._settings,
            store=self._store, metrics=self._metrics, clock=self._clock, token=token, events=self._events,
            streams=self._streams,
        )  # fmt: skip
        config = GuardedConfig(app, self._settings, ledger=self._ledger, clock=self._clock)
        config.load()
        server = Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[taken])
        await server.on_tick(0)
        return server

    def _warn_if_open(self) -> None:
        if self._settings.token == "never" and not self._settings.on_loopback:  # noqa: S105 - a mode, not a secret
            message = "anybody who reaches this address may change things: http.token is never"
            for port in self._listening:
                self._events("security-event", LAYERS[port], message, "warning", {"host": self._settings.host})


def _listen(host: str, number: int, setting: str) -> socket.socket:
    bare = host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(bare, number, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise StartError(f"{host!r} is no address to listen on", hint="change the setting http.host") from error
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(_BACKLOG)
    except OSError as error:
        taken.close()
        raise _start_error(error, host, number, setting) from error
    taken.setblocking(False)
    return taken


def _start_error(error: OSError, host: str, number: int, setting: str) -> StartError:
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(f"{host} is not an address of this machine", hint="change the setting http.host")
    reason = "in use by another program" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
    return StartError(
        f"port {number} on {host} is {reason}", hint=f"free it, or change the setting {setting} (0 = any)"
    )
