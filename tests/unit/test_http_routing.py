"""Requests become typed messages, answers become JSON, and every failure is a problem."""

import json
from typing import Any

import pytest

from chimera.errors import (
    BreakerOpenError,
    DeadlineError,
    LayerNotRunningError,
    NoAgentError,
    OverloadedError,
)
from chimera.http import BridgeSettings
from subjects import Port
from subjects.agent import Deploy, Predict, Retire, ShowAgent
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio

HELLO = {"job_id": "1", "input": {"text": "good"}}


@pytest.fixture
def rig() -> Rig:
    """One application of port 8000 with doubles."""
    return Rig()


def problem_of(response: Any) -> dict[str, Any]:
    """The problem of a response, after checking the shape that all share."""
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"] == f"urn:chimera:problem:{problem['code']}"
    assert {"title", "detail", "code", "executed"} <= problem.keys()
    return problem


async def test_body_becomes_the_message_and_the_reply_json(rig: Rig) -> None:
    """POST /predict asks with the decoded body and answers the prediction."""
    async with rig.client() as client:
        response = await client.post("/predict", json=HELLO)
    assert response.status_code == 200
    assert response.json()["output"] == {"text": "good"}
    assert rig.caller.asked == [Predict(job_id="1", input={"text": "good"})]


@pytest.mark.parametrize(
    "kind",
    [None, "application/json; charset=utf-8", "application/x-www-form-urlencoded", "application/cloudevents+json"],
)
async def test_media_types_that_are_taken(rig: Rig, kind: str | None) -> None:
    """JSON, +json, no type at all and what curl -d says are all read as JSON."""
    headers = {"content-type": kind} if kind else {}
    async with rig.client() as client:
        response = await client.post("/predict", content=json.dumps(HELLO), headers=headers)
    assert response.status_code == 200


async def test_other_media_types_are_refused(rig: Rig) -> None:
    """A body that says it is something else is 415 and reaches nobody."""
    async with rig.client() as client:
        response = await client.post("/predict", content=b"<a/>", headers={"content-type": "text/xml"})
    assert problem_of(response)["code"] == "media-type"
    assert response.status_code == 415
    assert rig.caller.asked == []


async def test_empty_body_is_an_empty_object(rig: Rig) -> None:
    """An operation without required fields takes an empty body."""
    async with rig.client() as client:
        response = await client.post("/api/config/optimize")
    assert response.status_code == 200
    assert rig.caller.asked[0].agent == "sentiment"


async def test_path_and_body_are_merged(rig: Rig) -> None:
    """The path's name joins the body's fields in one message."""
    async with rig.client() as client:
        response = await client.post("/api/agents/echo/deploy", json={"share": 0.5, "genome": {"x": 1.5}})
    assert response.status_code == 200
    assert rig.caller.asked == [Deploy(name="echo", share=0.5, genome={"x": 1.5})]


async def test_path_and_body_must_agree(rig: Rig) -> None:
    """A name in the body that differs from the path's is refused."""
    async with rig.client() as client:
        response = await client.post("/api/agents/echo/deploy", json={"name": "other"})
    assert "path" in problem_of(response)["detail"]
    assert rig.caller.asked == []


async def test_delete_takes_its_fields_from_the_path(rig: Rig) -> None:
    """DELETE needs no body."""
    async with rig.client() as client:
        response = await client.delete("/api/agents/echo")
    assert response.status_code == 200
    assert rig.caller.asked == [Retire(name="echo")]


@pytest.mark.parametrize("name", ["a.b", "a%0A", "%2A", "%3E", "x" * 65, "a%00b"])
async def test_names_that_could_become_subjects_are_refused(rig: Rig, name: str) -> None:
    """Dots, wildcards, control characters and long names never leave the bridge."""
    async with rig.client() as client:
        response = await client.get(f"/api/agents/{name}")
    assert problem_of(response)["code"] == "bad-message"
    assert rig.caller.asked == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"job_id": "1", "input": {}, "extra": 1}', "extra"),
        (b'{"job_id": 1, "input": {}}', "job_id"),
        (b'{"input": {}}', "job_id"),
        (b"[1]", "object"),
        (b"{", "truncated"),
        (b'{"job_id": "\xff", "input": {}}', "utf-8"),
        (b'{"job_id": "1", "input": {"n": NaN}}', "malformed"),
        (b'{"job_id": "1", "input": {"n": 18446744073709551616}}', "64 bits"),
        (b'{"job_id": "1", "input": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "deeper"),
        (b'{"job_id": "1", "input": {"a":' + b"[" * 100_000, "deeper"),
    ],
)
async def test_bad_bodies_name_what_is_wrong(rig: Rig, body: bytes, word: str) -> None:
    """Unknown, mistyped and missing fields, broken JSON, huge numbers and deep nesting are 400 with the reason."""
    async with rig.client() as client:
        response = await client.post("/predict", content=body)
    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (400, "bad-message")
    assert word in problem["detail"].lower()
    assert problem["instance"] == "/predict"
    assert rig.caller.asked == []


async def test_depth_up_to_the_limit_is_taken(rig: Rig) -> None:
    """Thirty levels below the body and its input are fine, and many siblings are not depth."""
    deep: Any = 1
    for _ in range(30):
        deep = {"a": deep}
    async with rig.client() as client:
        nested = await client.post("/predict", json={"job_id": "1", "input": {"a": deep["a"]}})
        wide = await client.post("/predict", json={"job_id": "2", "input": {"rows": [[n] for n in range(100)]}})
    assert (nested.status_code, wide.status_code) == (200, 200)


@pytest.mark.parametrize("query", ["foo=1", "name=other", "%ff=%ff", "&".join(f"a{n}=1" for n in range(40))])
async def test_queries_are_strict(rig: Rig, query: str) -> None:
    """Unknown, contradicting, undecodable or too many query fields are refused."""
    async with rig.client() as client:
        response = await client.get(f"/api/agents/echo?{query}")
    assert problem_of(response)["code"] == "bad-message"
    assert rig.caller.asked == []


async def test_post_takes_no_query(rig: Rig) -> None:
    """Fields of a POST come from its body only."""
    async with rig.client() as client:
        response = await client.post("/predict?agent=echo", json=HELLO)
    assert response.status_code == 400


async def test_unknown_path_is_a_problem(rig: Rig) -> None:
    """404 has the same shape as every error; a trailing slash is another path."""
    async with rig.client() as client:
        missing, slash = await client.get("/nope"), await client.post("/predict/", json=HELLO)
    assert problem_of(missing)["code"] == "not-found"
    assert slash.status_code == 404


async def test_wrong_method_tells_every_right_one(rig: Rig) -> None:
    """405 lists in Allow all methods of the path, not those of the first route only."""
    async with rig.client() as client:
        response = await client.put("/api/agents")
    assert problem_of(response)["code"] == "method"
    assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (NoAgentError("there is no agent 'x'"), 404, None),
        (OverloadedError(retry_after_s=0.2), 429, "1"),
        (BreakerOpenError(retry_after_s=2.5), 503, "3"),
        (LayerNotRunningError(), 503, None),
        (DeadlineError(stage="queued"), 504, None),
    ],
)
async def test_errors_of_the_list_keep_their_face(rig: Rig, error: Any, status: int, retry: str | None) -> None:
    """Status, code, hint and Retry-After come from the error."""
    rig.caller.error = error
    async with rig.client() as client:
        response = await client.post("/predict", json=HELLO)
    problem = problem_of(response)
    assert (response.status_code, problem["code"], problem.get("hint", "")) == (status, error.code, error.hint)
    assert response.headers.get("retry-after") == retry


async def test_unexpected_failure_says_nothing_of_the_inside(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """An exception outside the list is a bare 500, and the log has its cause."""
    rig.caller.error = RuntimeError("secret detail")
    async with rig.client() as client:
        response = await client.post("/predict", json=HELLO)
    assert problem_of(response)["code"] == "internal"
    assert "secret" not in response.text
    assert "secret detail" in caplog.text


async def test_deadline_of_the_body_reaches_the_ask(rig: Rig) -> None:
    """deadline_ms is the ask's timeout; without it the operation's own counts."""
    async with rig.client() as client:
        await client.post("/predict", json={**HELLO, "deadline_ms": 250})
        await client.post("/predict", json=HELLO)
    assert rig.caller.timeouts == [0.25, 10.0]


async def test_trace_is_passed_on_if_well_formed(rig: Rig) -> None:
    """A W3C traceparent travels; anything else is dropped."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with rig.client() as client:
        await client.post("/predict", json=HELLO, headers={"traceparent": trace})
        await client.post("/predict", json=HELLO, headers={"traceparent": "x; drop"})
    assert rig.caller.traces == [trace, ""]


async def test_created_has_its_status(rig: Rig) -> None:
    """Success is sent with the status that the operation declares."""
    async with rig.client() as client:
        response = await client.post("/api/agents", json={"module": "AGFzbQEAAAA=", "manifest": {"name": "echo"}})
    assert response.status_code == 201
    assert rig.caller.asked[0].module == b"\0asm\1\0\0\0"


async def test_module_uploads_have_room(rig: Rig) -> None:
    """An operation that takes a module takes more than 1 MiB; another does not."""
    big = "A" * (2 << 20)
    async with rig.client() as client:
        module = await client.post("/api/agents", json={"module": big, "manifest": {"name": "echo"}})
        text = await client.post("/predict", json={"job_id": "1", "input": {"text": big}})
    assert module.status_code == 201
    assert problem_of(text)["code"] == "too-large"


async def test_other_ports_serve_only_their_own() -> None:
    """A port's routes are its role's operations and the general rows."""
    rig = Rig(port=Port.SCHEDULER, settings=BridgeSettings())
    async with rig.client() as client:
        predict, health, index = (
            await client.post("/predict", json=HELLO),
            await client.get("/health"),
            await client.get("/"),
        )
    assert predict.status_code == 404
    assert health.json()["checks"]["bus"] == "ok"
    assert index.json()["layer"] == "scheduler"


async def test_head_is_get(rig: Rig) -> None:
    """HEAD works wherever GET does."""
    async with rig.client() as client:
        response = await client.head("/api/agents/echo")
    assert response.status_code == 200
    assert rig.caller.asked == [ShowAgent(name="echo")]
