"""The ways of asking: they give one answer, whoever asks with whatever client."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from tests.support.foreign import pack, stranger, unpack
from tests.support.running import RunningSystem

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
TEXT = "I love this, it works great!"
PREDICT = "chimera.agent.predict"


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from task to task."""
    return {name: value for name, value in answer.items() if name not in {"job_id", "timings", "replayed"}}


async def test_every_way_of_asking_gives_the_same_answer(system: RunningSystem):
    """HTTP, JSON and msgpack over NATS by a foreign client, and the command line differ in nothing but the timings."""
    over_http = system.predict("way-http", TEXT)
    assert over_http.status_code == 200
    body = {"input": {"text": TEXT}}
    async with stranger(system) as (client, _):
        in_json = await client.request(PREDICT, json.dumps({"job_id": "way-json", **body}).encode(), timeout=10)
        in_msgpack = await client.request(PREDICT, pack({"job_id": "way-msgpack", **body}), timeout=10)
    by_command = system.command("call", "agent.predict", json.dumps({"job_id": "way-command", **body}))
    answers: list[dict[str, Any]] = [
        over_http.json(),
        json.loads(in_json.data),
        unpack(in_msgpack.data),
        json.loads(by_command.stdout),
    ]
    assert [answer["job_id"] for answer in answers] == ["way-http", "way-json", "way-msgpack", "way-command"]
    assert all(essence(answer) == essence(answers[0]) for answer in answers)
    assert answers[0]["agent"] == "sentiment"
    assert answers[0]["output"]["label"] == "positive"
    assert answers[0]["output"]["compound"] > 0.5


async def test_the_same_job_is_answered_from_store_on_every_way(system: RunningSystem):
    """A job that was answered over HTTP is answered over NATS with the very same figures, marked as replayed."""
    first = system.predict("again", TEXT).json()
    again = system.predict("again", TEXT).json()
    async with stranger(system) as (client, _):
        body = {"input": {"text": TEXT}, "job_id": "again"}
        elsewhere = json.loads((await client.request(PREDICT, json.dumps(body).encode(), timeout=10)).data)
    assert not first["replayed"]
    assert again == elsewhere == {**first, "replayed": True}


async def test_a_job_id_can_not_be_used_for_another_body(system: RunningSystem):
    """The second body is refused with 409 on both ways, with the code ``conflict``."""
    assert system.predict("taken", "one text").status_code == 200
    refused = system.predict("taken", "another text")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    async with stranger(system) as (client, _):
        answer = await client.request(PREDICT, b'{"job_id":"taken","input":{"text":"a third"}}', timeout=10)
    assert answer.headers["Nats-Service-Error-Code"] == "409"
    assert json.loads(answer.data)["code"] == "conflict"


async def test_services_are_found_as_adr_32_says(system: RunningSystem):
    """``nats micro`` finds the agent service: PING, INFO and STATS answer in the documented form."""
    async with stranger(system) as (client, _):

        async def ask(subject: str) -> dict[str, Any]:
            return json.loads((await client.request(subject, b"", timeout=10)).data)

        ping = await ask("$SRV.PING.agent")
        info = await ask(f"$SRV.INFO.agent.{ping['id']}")
        await client.request(PREDICT, b'{"job_id":"counted","input":{"text":"x"}}', timeout=10)
        stats = await ask("$SRV.STATS.agent")
    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert info["type"] == "io.nats.micro.v1.info_response"
    assert stats["type"] == "io.nats.micro.v1.stats_response"
    assert {answer["name"] for answer in (ping, info, stats)} == {"agent"}
    assert PREDICT in {endpoint["subject"] for endpoint in info["endpoints"]}
    predict = next(endpoint for endpoint in stats["endpoints"] if endpoint["subject"] == PREDICT)
    assert predict["num_requests"] >= 1
    assert predict["average_processing_time"] > 0


async def test_all_services_answer_a_ping_of_everybody(system: RunningSystem):
    """``$SRV.PING`` is answered by each service that runs."""
    async with stranger(system) as (client, _):
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        await client.publish("$SRV.PING", b"", reply=inbox)
        names: set[str] = set()
        with anyio.fail_after(10):
            while not {"agent", "node"} <= names:
                names.add(json.loads((await answers.next_msg(10)).data)["name"])


@pytest.mark.parametrize(
    "subject", ["chimera.agent.deploy", "chimera.agent.register", "chimera.event.node", "$KV.agents.x"]
)
async def test_a_client_can_not_change_anything(system: RunningSystem, subject: str):
    """The server refuses what the role may not publish: the request is denied, and nothing was deployed."""
    before = system.http.get("/api/agents/sentiment").json()
    async with stranger(system) as (client, errors):
        await client.publish(subject, b'{"name":"sentiment","genome":{"capitals_increment":0.1}}')
        await client.flush()
        with anyio.fail_after(10):
            while not errors:  # noqa: ASYNC110 - nats-py tells by a callback of its own
                await anyio.sleep(0.01)
    assert "permissions violation for publish" in errors[0]
    assert system.http.get("/api/agents/sentiment").json() == before


@pytest.mark.parametrize(
    "subject", ["_INBOX_operator.>", "_INBOX_runtime.>", "_INBOX_observer.>", ">", "chimera.kpi.>"]
)
async def test_a_client_can_not_listen_to_others(system: RunningSystem, subject: str):
    """Neither the answers to other roles nor the records of tasks can be subscribed."""
    async with stranger(system) as (client, errors):
        await client.subscribe(subject)
        await client.flush()
        with anyio.fail_after(10):
            while not errors:  # noqa: ASYNC110 - nats-py tells by a callback of its own
                await anyio.sleep(0.01)
    assert "permissions violation for subscription" in errors[0]


async def test_an_unconfigured_inbox_works_for_clients(system: RunningSystem):
    """A client library that was not told an inbox prefix is answered too."""
    async with stranger(system) as (client, errors):
        reply = await client.subscribe("_INBOX.plain")
        await client.publish(PREDICT, b'{"job_id":"plain","input":{"text":"fine"}}', reply="_INBOX.plain")
        answer = json.loads((await reply.next_msg(10)).data)
    assert answer["job_id"] == "plain"
    assert not errors
