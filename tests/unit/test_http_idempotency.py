"""Idempotency-Key: the same request runs once, and only answers that will not change are kept."""

from typing import Any

import anyio
import pytest

from chimera.errors import (
    AgentError,
    BadMessageError,
    BreakerOpenError,
    DeadlineError,
    OverloadedError,
    UnavailableError,
)
from chimera.http.idempotency import MAX_KEPT, Memory, read_key
from chimera.store.contract import Remembered
from tests.support.bridge import ManualClock, Rig

pytestmark = pytest.mark.anyio

HELLO = {"job_id": "1", "input": {"text": "good"}}
KEY = {"idempotency-key": "k-1"}


class ShelfStore:
    """The part of a store that keeps answers; ``broken`` makes it fail."""

    def __init__(self) -> None:
        self.entries: dict[str, Remembered] = {}
        self.broken = False

    async def remembered(self, key: str) -> Remembered | None:
        """Look up."""
        if self.broken:
            raise UnavailableError("the store is gone")
        return self.entries.get(key)

    async def remember(self, entry: Remembered, *, keep_s: float = 86_400.0) -> None:
        """Keep."""
        assert keep_s > 0
        if self.broken:
            raise UnavailableError("the store is gone")
        self.entries[entry.key] = entry


def rig_with(store: Any = None) -> Rig:
    """One application, with a store if given."""
    return Rig(store=store)


async def test_repeat_gets_the_stored_answer() -> None:
    """The second request with the key runs nothing and says that it is a replay."""
    rig = rig_with()
    async with rig.client() as client:
        first = await client.post("/predict", json=HELLO, headers=KEY)
        second = await client.post("/predict", json=HELLO, headers=KEY)
    assert len(rig.caller.asked) == 1
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"


async def test_without_a_key_both_run() -> None:
    """Repeats are only recognised by their key."""
    rig = rig_with()
    async with rig.client() as client:
        await client.post("/predict", json=HELLO)
        await client.post("/predict", json=HELLO)
    assert len(rig.caller.asked) == 2


async def test_key_of_another_request_is_refused() -> None:
    """Another body, or another path, under a used key is 422."""
    rig = rig_with()
    async with rig.client() as client:
        await client.post("/predict", json=HELLO, headers=KEY)
        body = await client.post("/predict", json={**HELLO, "input": {}}, headers=KEY)
        path = await client.post("/api/feedback", json=HELLO, headers=KEY)
    assert (body.status_code, body.json()["code"]) == (422, "key-reused")
    assert path.status_code == 422
    assert len(rig.caller.asked) == 1


async def test_repeat_of_a_running_request_is_a_conflict() -> None:
    """While the first one runs the second is 409 with Retry-After, and afterwards it gets the answer."""
    rig = rig_with()
    entered, leave = anyio.Event(), anyio.Event()

    async def slow(message: Any) -> Any:
        entered.set()
        await leave.wait()
        rig.caller.hook = None
        return await rig.caller.ask(message)

    rig.caller.hook = slow
    answers: list[Any] = []
    async with rig.client() as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: client.post("/predict", json=HELLO, headers=KEY))
            await entered.wait()
            answers.append(await client.post("/predict", json=HELLO, headers=KEY))
            leave.set()
        after = await client.post("/predict", json=HELLO, headers=KEY)
    during = answers[0]
    assert (during.status_code, during.json()["code"], during.headers["retry-after"]) == (409, "conflict", "1")
    assert after.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    "error", [BreakerOpenError(), OverloadedError(), DeadlineError(stage="running"), BadMessageError("x")]
)
async def test_answers_that_may_change_are_not_kept(error: Any) -> None:
    """After 503, 429, 504 or a refusal the same key runs again."""
    rig = rig_with()
    rig.caller.error = error
    async with rig.client() as client:
        failed = await client.post("/predict", json=HELLO, headers=KEY)
        rig.caller.error = None
        retried = await client.post("/predict", json=HELLO, headers=KEY)
    assert (failed.status_code, retried.status_code) == (error.status, 200)
    assert "idempotent-replayed" not in retried.headers


async def test_an_error_of_work_that_ran_is_kept() -> None:
    """The agent's own refusal is its answer: it is replayed as the same problem."""
    rig = rig_with()
    rig.caller.error = AgentError("no text")
    async with rig.client() as client:
        first = await client.post("/predict", json=HELLO, headers=KEY)
        rig.caller.error = None
        second = await client.post("/predict", json=HELLO, headers=KEY)
    assert (second.status_code, second.json()) == (422, first.json())
    assert second.headers["content-type"] == "application/problem+json"


async def test_answers_survive_a_restart_in_the_store() -> None:
    """A new application with the same store replays."""
    store = ShelfStore()
    async with rig_with(store).client() as client:
        await client.post("/predict", json=HELLO, headers=KEY)
    rig = rig_with(store)
    async with rig.client() as client:
        again = await client.post("/predict", json=HELLO, headers=KEY)
    assert rig.caller.asked == []
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_store_that_can_not_be_asked_runs_nothing() -> None:
    """Whether it ran before is unknown, so it is 503 and not run; the key is free afterwards."""
    store = ShelfStore()
    store.broken = True
    rig = rig_with(store)
    async with rig.client() as client:
        refused = await client.post("/predict", json=HELLO, headers=KEY)
        assert (refused.status_code, rig.caller.asked) == (503, [])
        store.broken = False
        assert (await client.post("/predict", json=HELLO, headers=KEY)).status_code == 200


async def test_a_store_that_can_not_keep_still_answers() -> None:
    """The work is done: its answer is sent, kept in memory, and the loss is reported."""
    store = ShelfStore()
    rig = rig_with(store)

    async def break_store(message: Any) -> Any:
        store.broken = True
        rig.caller.hook = None
        return await rig.caller.ask(message)

    rig.caller.hook = break_store
    async with rig.client() as client:
        response = await client.post("/predict", json=HELLO, headers=KEY)
        again = await client.post("/predict", json=HELLO, headers=KEY)
    assert (response.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert "data-access" in [name for name, *_ in rig.events]


@pytest.mark.parametrize("key", [b"", b"a b", b"a\n", b"\xff", b"x" * 129])
def test_bad_keys_are_refused(key: bytes) -> None:
    """Keys are 1 to 128 visible ASCII characters."""
    with pytest.raises(BadMessageError):
        read_key(key)


async def test_memory_is_bounded_and_forgets() -> None:
    """Only the newest answers stay in memory, and none longer than its time."""
    clock = ManualClock()
    memory = Memory(clock, keep_s=60.0)
    for number in range(MAX_KEPT + 1):
        await memory.keep(Remembered(str(number), "d", 200, b"{}", clock.time()))
    assert await memory.claim("0", "d") is None
    assert await memory.claim("1", "d") is not None
    clock.advance(61)
    assert await memory.claim("2", "d") is None
