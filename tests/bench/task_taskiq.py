"""taskiq on NATS: pulled from JetStream, results in the object store or in Redis (``URL RESULTS asker|worker``).

``RESULTS`` is ``objects`` or the URL of a Redis. Reading from the object store fails now and then when many read (each
reading is a consumer on the server): it is tried again, where taskiq's own ``wait_result`` gives up. Imports nothing of
Chimera's, so that it runs with any interpreter that has ``taskiq-nats``, ``taskiq-redis``, anyio and uvloop.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import anyio

from tests.bench.child import load, obey, run

SIZE, ANSWER_S, BATCH = 128, 30.0, 100
POLL_S = 0.002
"""How often a result is looked for; taskiq's own default of 200 ms would make its latency a hundred times worse."""

_PATIENCE_S = 0.05
"""How long a pull waits for a full batch: without it a lone task would wait for ever."""


def make_broker(url: str, results: str) -> Any:
    """The broker of one way; with the object store one message a pull, which is what answers at all there."""
    nats = import_module("taskiq_nats")  # by name: it need not be where the types are checked
    objects = results == "objects"
    name = "objects" if objects else "redis"
    broker = nats.PullBasedJetStreamBroker(
        url, subject=f"bench.taskiq.{name}", stream_name=f"TASKIQ-{name}", durable=f"taskiq-{name}",
        pull_consume_batch=1 if objects else BATCH, pull_consume_timeout=None if objects else _PATIENCE_S,
    )  # fmt: skip
    if objects:
        return broker.with_result_backend(nats.NATSObjectStoreResultBackend(url))
    return broker.with_result_backend(import_module("taskiq_redis").RedisAsyncResultBackend(results))


async def main() -> None:
    """Connect, then obey."""
    url, results, role = sys.argv[1:]
    broker, taskiq = make_broker(url, results), import_module("taskiq")
    not_read: tuple[type[Exception], ...] = (taskiq.ResultGetError, taskiq.ResultIsReadyError)

    async def give_back(body: str) -> str:
        return body

    queued = broker.task(give_back)

    async def ask_one(payload: bytes) -> bytes:
        task = await queued.kiq(payload.decode("latin-1"))
        while True:
            with suppress(*not_read):
                result = await task.wait_result(check_interval=POLL_S, timeout=ANSWER_S)
                return result.return_value.encode("latin-1")
            await anyio.sleep(POLL_S)

    async def ask(concurrency: int, seconds: float) -> dict[str, Any]:
        with anyio.fail_after(seconds + ANSWER_S):
            return await load(ask_one, SIZE, concurrency, seconds)

    broker.is_worker_process = role == "worker"
    await broker.startup()
    async with anyio.create_task_group() as group:
        if role == "worker":
            group.start_soon(import_module("taskiq.api").run_receiver_task, broker)
        await obey({"ask": ask})
        group.cancel_scope.cancel()
    await broker.shutdown()


if __name__ == "__main__":
    run(main)
