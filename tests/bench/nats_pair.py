"""Two processes on one NATS server: one asks, the other answers."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.child import Child
from tests.bench.figures import Trial
from tests.bench.machine import cpu_s
from tests.support.nats_server import NatsServer


class Pair:
    """An asker and an answerer of one kind (``raw`` or ``ours``)."""

    def __init__(self, asker: Child, answerer: Child, server: NatsServer) -> None:
        self._asker = asker
        self._answerer = answerer
        self._server = server
        answerer.call("answer")

    def ask(self, concurrency: int, seconds: float) -> Trial:
        """One trial: rate, median latency, CPU of both ends and of the server per request."""
        answering, serving = self._answerer.call("cpu")["cpu_s"], cpu_s(self._server.pid)
        trial = self._asker.call("ask", concurrency=concurrency, seconds=seconds)
        answering = self._answerer.call("cpu")["cpu_s"] - answering
        serving = cpu_s(self._server.pid) - serving
        asked = trial["asked"]
        return {
            "per_s": trial["per_s"], "p50_us": trial["p50_us"], "cpu_us": (trial["cpu_s"] + answering) / asked * 1e6,
            "server_us": serving / asked * 1e6,
        }  # fmt: skip

    def tell(self, count: int) -> Trial:
        """One trial: messages per second until the receiver has the last, CPU of both ends per message."""
        receiving = self._answerer.call("cpu")["cpu_s"]
        sent = self._asker.call("tell", count=count)
        arrived = self._answerer.call("told", count=count)
        receiving = self._answerer.call("cpu")["cpu_s"] - receiving
        # perf_counter is the same clock in all processes of a machine
        return {"per_s": count / (arrived["last"] - sent["began"]), "cpu_us": (sent["cpu_s"] + receiving) / count * 1e6}


@contextmanager
def pairs(*ways: str) -> Generator[dict[str, Pair]]:
    """A server of our own and a pair per way on it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = NatsServer(Path(folder))
        server.start()
        stack.callback(server.kill)
        made: dict[str, Pair] = {}
        for way in ways:
            asker = stack.enter_context(Child("nats_peer", way, server.url, "asker"))
            answerer = stack.enter_context(Child("nats_peer", way, server.url, "answerer"))
            made[way] = Pair(asker, answerer, server)
        yield made
