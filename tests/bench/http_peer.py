"""HTTP servers to be compared with (``bare`` starlette, or the ``bridge`` over a caller that answers at once)."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from tests.bench.child import obey, run


async def serve_bare() -> None:
    """One starlette route that decodes JSON and sends it back; uvicorn with the bridge's settings and parser."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from uvicorn import Config, Server

    async def echo(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    app = Starlette(routes=[Route("/predict", echo, methods=["POST"])])
    taken = socket.create_server(("127.0.0.1", 0))
    config = Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False,
    )  # fmt: skip
    server = Server(config)
    server.install_signal_handlers = lambda: None  # pyright: ignore[reportAttributeAccessIssue] - ours end by their pipe

    async def port() -> dict[str, int]:
        return {"port": taken.getsockname()[1]}

    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [taken])
        await obey({"port": port})
        server.should_exit = True


class Echo:
    """Answers every prediction at once, so that only the bridge is left."""

    async def ask(self, message: Any, *, timeout_s: float | None = None, trace: str = "") -> Any:  # noqa: ARG002 - the bridge's contract
        """The input as the output."""
        from subjects.agent import Prediction, Timings

        timings = Timings(queue_ms=0.0, run_ms=0.0, total_ms=0.0)
        return Prediction(
            job_id=message.job_id, agent="echo", release=1, output=message.input, timings=timings, node="bench"
        )

    async def readiness(self) -> dict[str, str]:
        """Always."""
        return {"bus": "ok"}

    def node(self) -> str:
        """A name."""
        return "bench"

    def is_ready(self) -> bool:
        """Always."""
        return True

    def alarms(self) -> dict[str, str]:
        """None."""
        return {}

    def stream(self, message: Any, *, timeout_s: float | None = None) -> Any:
        """Nothing streams here."""
        raise NotImplementedError


async def serve_bridge() -> None:
    """The bridge alone."""
    from chimera import SystemClock
    from chimera.http import Bridge, BridgeSettings
    from chimera.metrics import Metrics
    from subjects import Port

    with tempfile.TemporaryDirectory() as folder:
        settings = BridgeSettings(ports={Port.AGENT: 0}, data=Path(folder))
        echo = Echo()
        bridge = Bridge(echo, echo, settings, metrics=Metrics(), clock=SystemClock())

        async def port() -> dict[str, int]:
            return {"port": bridge.ports[Port.AGENT]}

        async with anyio.create_task_group() as group:
            await bridge.start()
            group.start_soon(bridge.wait)
            await obey({"port": port})
            await bridge.stop()


if __name__ == "__main__":
    run({"bare": serve_bare, "bridge": serve_bridge}[sys.argv[1]])
