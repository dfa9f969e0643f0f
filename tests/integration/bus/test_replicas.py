"""On a cluster of three real servers, streams and buckets have as many copies as the bus was told to keep."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from chimera.bus.contract import StreamSpec
from chimera.bus.nats import NatsBus
from chimera.errors import DeadlineError, NotRunningError
from tests.support.nats_cluster import NatsCluster

pytestmark = pytest.mark.anyio

KEPT = StreamSpec("KEPT", ("kept.>",))
COPIES = {"KEPT": 3, "KV_pages": 3, "OBJ_things": 3}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    """Three servers of this test's own."""
    cluster = NatsCluster(tmp_path)
    cluster.start()
    yield cluster
    cluster.kill()


async def _declared(bus: NatsBus) -> dict[str, int]:
    await bus.declare(KEPT)
    await bus.key_value("pages")
    await bus.objects("things")
    return {name: (await bus.stream_holding(name)).replicas for name in COPIES}


async def test_every_stream_and_bucket_outlives_the_loss_of_a_server(
    cluster: NatsCluster, run: Callable[..., Any]
) -> None:
    """Whoever declares it: three copies, kept also by a bus that was not told of them, and read when one is killed."""
    async with NatsBus(cluster.url.split(","), name="three", replicas=3) as bus:
        assert await _declared(bus) == COPIES
        await bus.append("kept.one", b"1", msg_id="one")
    async with NatsBus(cluster.url.split(","), name="untold") as bus:
        assert await _declared(bus) == COPIES
        await run(cluster.servers[0].kill)
        await bus.append("kept.two", b"2", msg_id="two", timeout_s=20.0)
        last = await bus.last("KEPT", "kept.one", timeout_s=10.0)
        assert last is not None
        assert last.data == b"1"


async def test_a_stream_waits_for_the_last_server_of_a_cluster_that_starts(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    """Two of three servers can't keep three copies; who declares a stream then has it once the third is there."""
    cluster = NatsCluster(tmp_path)
    *first, last = cluster.servers
    try:
        for server in first:
            await run(server.start)
        async with NatsBus(cluster.url.split(","), name="early", replicas=3) as bus:
            await _refused(bus)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bus.declare, KEPT)
                await run(last.start)
            assert (await bus.stream_holding("KEPT")).replicas == COPIES["KEPT"]
    finally:
        cluster.kill()


async def _refused(bus: NatsBus) -> None:
    """Until the servers that run have a leader, which says that they are too few."""
    wanted = msgspec.json.encode({"name": "OTHER", "subjects": ["other.>"], "num_replicas": 3})
    with anyio.fail_after(20.0):
        while True:
            with contextlib.suppress(DeadlineError, NotRunningError):
                answer = await bus.request("$JS.API.STREAM.CREATE.OTHER", wanted, timeout_s=1.0)
                if b'"err_code":10005' in answer.data:
                    return
