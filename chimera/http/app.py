"""The application of one port: an explicit list of routes, readable from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chimera.clock import Clock
from chimera.errors import MethodError, NotFoundError
from chimera.events import EventSink, ignore_events
from chimera.metrics import Metrics
from chimera.store.contract import Store
from subjects import OPERATIONS, Http, Operation, Port

from .auth import Door
from .contract import Caller, Probe
from .desk import OPERATION, Desk, path_of
from .endpoint import OperationEndpoint
from .general import General, PageEndpoint
from .idempotency import Memory
from .paged import PagedEndpoint
from .settings import BridgeSettings
from .straight import PortApp
from .streaming import StreamEndpoint, Streams


class Methods:
    """One path: the endpoint by method, and 405 with Allow for every other method."""

    def __init__(self, endpoints: Mapping[str, ASGIApp]) -> None:
        self.endpoints = dict(endpoints)
        if "GET" in endpoints:
            self.endpoints["HEAD"] = endpoints["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on.

        Raises:
            MethodError: If the path does not know the method.
        """
        endpoint = self.endpoints.get(scope["method"])
        if endpoint is None:
            allowed = sorted(self.endpoints)
            raise MethodError(f"{scope['method']} is not for {path_of(scope)}", data={"allow": allowed})
        await endpoint(scope, receive, send)


def build_app(
    port: Port,
    caller: Caller,
    probe: Probe,
    settings: BridgeSettings,
    *,
    store: Store | None,
    metrics: Metrics,
    clock: Clock,
    token: str = "",
    events: EventSink = ignore_events,
    streams: Streams | None = None,
) -> Starlette:
    """The ASGI application that serves one port.

    Args:
        port: The role; its operations become routes.
        caller: Asks actors.
        probe: Knows how the node does.
        settings: Limits and allow-lists.
        store: Keeps answers for Idempotency-Keys across a restart; ``None`` = memory only.
        metrics: Where requests are counted, and what ``/metrics`` shows.
        clock: Time.
        token: The bearer token, see ``ensure_token``.
        streams: Open streams, shared by the ports of a bridge.
        events: Takes ``access-log``, ``security-event`` and ``response-time``.
    """
    door = Door(settings, token, metrics)
    memory = Memory(clock, store, keep_s=settings.idempotency_keep_s)
    room = Streams() if streams is None else streams
    desk = Desk(port, caller, probe, settings, door, memory, metrics, clock, events, room)
    return PortApp(desk, [*operation_routes(desk), *general_routes(desk)], _no_such_path)


def operation_routes(desk: Desk) -> list[Route]:
    """One route per path of the port's operations; fixed paths first, so that no parameter stands for one."""
    paths: dict[str, dict[str, ASGIApp]] = {}
    for operation in OPERATIONS:
        if operation.port == desk.port:
            for face in operation.http:
                paths.setdefault(face.path, {})[face.method] = _endpoint(desk, operation, face)
    return [Route(path, Methods(paths[path])) for path in sorted(paths, key=lambda path: "{" in path)]


def _endpoint(desk: Desk, operation: Operation[Any, Any], face: Http) -> ASGIApp:
    if operation.streams:
        return StreamEndpoint(desk, operation, face)
    page = desk.settings.pages.get(operation.name) if face.method == "GET" else None
    return OperationEndpoint(desk, operation, face) if page is None else PagedEndpoint(desk, operation, face, page)


def general_routes(desk: Desk) -> list[Route]:
    """What every port answers."""
    general = General(desk)
    return [
        Route("/", Methods({"GET": PageEndpoint("index", general.index)})),
        Route("/livez", Methods({"GET": PageEndpoint("livez", general.livez)})),
        Route("/readyz", Methods({"GET": PageEndpoint("readyz", general.readyz)})),
        Route("/health", Methods({"GET": PageEndpoint("health", general.health)})),
        Route("/metrics", Methods({"GET": PageEndpoint("metrics", general.metrics)})),
        Route("/openapi.json", Methods({"GET": PageEndpoint("openapi", general.document)})),
    ]


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    scope.setdefault(OPERATION, "-")
    raise NotFoundError(f"{path_of(scope)} is not here", hint="GET / lists what is")
