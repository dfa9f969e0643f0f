"""Core messaging: the in-memory bus and NATS keep the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from chimera.bus import Bus, Delivery
from chimera.errors import BadMessageError, DeadlineError, NotRunningError, TooLargeError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def echo(bus: Bus, subject: str, queue: str = "") -> None:
    """Answer requests with their own data."""
    waiting: list[Delivery] = []

    def take(delivery: Delivery) -> None:
        waiting.append(delivery)
        answer = bus.publish(delivery.reply, delivery.data)
        task = asyncio.get_running_loop().create_task(answer)
        waiting_tasks.add(task)
        task.add_done_callback(waiting_tasks.discard)

    waiting_tasks: set[asyncio.Task[None]] = set()
    await bus.subscribe(subject, take, queue=queue)
    await bus.flush()


async def test_publish_reaches_subscribers_in_order(nodes: Any, unique: str):
    """Every subscriber gets every message, in the order of sending, with reply and headers."""
    sender, receiver = await nodes.join(), await nodes.join()
    got: list[Delivery] = []
    await receiver.subscribe(f"{unique}.a", got.append)
    await receiver.flush()
    for number in range(200):
        await sender.publish(f"{unique}.a", b"%d" % number, reply="some.where", headers={"X-One": "1 ä"})
    await until(lambda: len(got) == 200)
    assert [int(delivery.data) for delivery in got] == list(range(200))
    assert (got[0].subject, got[0].reply, got[0].headers) == (f"{unique}.a", "some.where", {"X-One": "1 ä"})


async def test_wildcards_and_unsubscribe(bus: Bus, unique: str):
    """``*`` stands for one token, ``>`` for the rest, and an ended subscription is silent."""
    one: list[str] = []
    rest: list[str] = []
    await bus.subscribe(f"{unique}.*.x", lambda delivery: one.append(delivery.subject))
    subscription = await bus.subscribe(f"{unique}.>", lambda delivery: rest.append(delivery.subject))
    for tail in ("a.x", "b.x", "a.y", "a.b.x"):
        await bus.publish(f"{unique}.{tail}", b"")
    await until(lambda: len(rest) == 4)
    assert one == [f"{unique}.a.x", f"{unique}.b.x"]
    await subscription.unsubscribe()
    await bus.publish(f"{unique}.c.x", b"")
    await until(lambda: len(one) == 3)
    assert len(rest) == 4


async def test_queue_group_shares(nodes: Any, unique: str):
    """Each message goes to one member of a queue group, and every member gets some."""
    sender, left, right = await nodes.join(), await nodes.join(), await nodes.join()
    counts = [0, 0]

    def member(index: int) -> Callable[[Delivery], None]:
        def take(_: Delivery) -> None:
            counts[index] += 1

        return take

    await left.subscribe(unique, member(0), queue="workers")
    await right.subscribe(unique, member(1), queue="workers")
    await left.flush()
    await right.flush()
    for _ in range(200):
        await sender.publish(unique, b"")
    await until(lambda: sum(counts) == 200)
    assert min(counts) > 20


async def test_request_is_answered(nodes: Any, unique: str):
    """Many requests at once each get their own answer."""
    caller, answerer = await nodes.join(), await nodes.join()
    await echo(answerer, unique)
    answers: dict[int, bytes] = {}

    async def ask(number: int) -> None:
        answers[number] = (await caller.request(unique, b"%d" % number)).data

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask, number)
    assert answers == {number: b"%d" % number for number in range(100)}


async def test_request_to_nobody_fails_at_once(bus: Bus, unique: str):
    """No subscriber: ``NotRunningError`` long before the deadline."""
    with anyio.fail_after(5), pytest.raises(NotRunningError):
        await bus.request(unique, b"", timeout_s=60)


async def test_request_deadline(bus: Bus, unique: str):
    """A silent subscriber: ``DeadlineError``, and nothing stays pending."""
    await bus.subscribe(unique, lambda _: None)
    with pytest.raises(DeadlineError):
        await bus.request(unique, b"", timeout_s=0.05)
    assert bus.statistics().pending == 0


async def test_cancelled_request_leaves_nothing(bus: Bus, unique: str):
    """Giving up on a request forgets it."""
    await bus.subscribe(unique, lambda _: None)
    with anyio.move_on_after(0.05):
        await bus.request(unique, b"", timeout_s=60)
    assert bus.statistics().pending == 0


async def test_request_many_gathers(nodes: Any, unique: str):
    """Answers of several nodes are gathered until none comes for a while."""
    caller = await nodes.join()
    for _ in range(3):
        await echo(await nodes.join(), unique)
    answers = await caller.request_many(unique, b"who", timeout_s=5, stall_s=0.3)
    assert [answer.data for answer in answers] == [b"who"] * 3


async def test_request_many_to_nobody(bus: Bus, unique: str):
    """Asking all when there is nobody is told at once."""
    with pytest.raises(NotRunningError):
        await bus.request_many(unique, b"", timeout_s=5, stall_s=0.1)


async def test_open_reply_takes_many_until_closed(bus: Bus, unique: str):
    """A reply subject delivers all answers to its callback, and none after it is closed."""
    got: list[bytes] = []
    await bus.subscribe(unique, lambda _: None)
    reply = bus.open_reply(lambda delivery: got.append(delivery.data))
    assert reply.startswith(bus.inbox + ".")
    for number in range(3):
        await bus.publish(reply, b"%d" % number)
    await until(lambda: len(got) == 3)
    bus.close_reply(reply)
    await bus.publish(reply, b"late")
    await bus.flush()
    with pytest.raises(DeadlineError):
        await bus.request(unique, b"", timeout_s=0.05)
    assert got == [b"0", b"1", b"2"]


async def test_open_reply_hears_that_nobody_listens(bus: Bus, unique: str):
    """No subscriber behind an open reply: a delivery with status 503."""
    got: list[Delivery] = []
    reply = bus.open_reply(got.append)
    await bus.publish(unique, b"x", reply=reply)
    await until(lambda: got)
    assert got[0].headers is not None
    assert (got[0].headers["Status"], got[0].data) == ("503", b"")


async def test_handler_that_raises_keeps_its_subscription(bus: Bus, unique: str):
    """What a handler raises, ``CancelledError`` too, is counted and does not end its subscription."""
    got: list[bytes] = []

    def take(delivery: Delivery) -> None:
        got.append(delivery.data)
        if delivery.data == b"0":
            raise ValueError("bad day")
        if delivery.data == b"1":
            raise asyncio.CancelledError

    await bus.subscribe(unique, take)
    for number in range(3):
        await bus.publish(unique, b"%d" % number)
    await until(lambda: len(got) == 3)
    assert bus.statistics().errors == 2


@pytest.mark.parametrize("subject", ["", "a b", "a..b", ".a", "a.", "a.*", "a.>", "a\r\nPUB x 0", "a" * 2000, "ä"])
async def test_bad_subjects_are_refused(bus: Bus, subject: str):
    """A subject that would confuse or close the connection never reaches it."""
    with pytest.raises(BadMessageError):
        await bus.publish(subject, b"")
    with pytest.raises(BadMessageError):
        await bus.request(subject, b"")
    await bus.flush()


@pytest.mark.parametrize("pattern", ["", "a b", "a..b", "a.>.b", "a*", "x" * 2000])
async def test_bad_patterns_are_refused(bus: Bus, pattern: str):
    """A pattern the server would refuse is refused here."""
    with pytest.raises(BadMessageError):
        await bus.subscribe(pattern, lambda _: None)


async def test_too_large_is_refused_before_sending(bus: Bus, unique: str):
    """Payload plus headers over the limit: ``TooLargeError``, and the connection lives."""
    exact = b"x" * bus.max_payload
    got: list[int] = []
    await bus.subscribe(unique, lambda delivery: got.append(len(delivery.data)))
    with pytest.raises(TooLargeError):
        await bus.publish(unique, exact + b"x")
    with pytest.raises(TooLargeError):
        await bus.publish(unique, exact, headers={"A": "1"})
    with pytest.raises(BadMessageError):
        await bus.publish(unique, b"", headers={"A": "line\nbreak"})
    await bus.publish(unique, exact)
    await until(lambda: got)
    assert got == [bus.max_payload]
    assert bus.statistics().state == "connected"


async def test_publish_loop_can_be_cancelled(bus: Bus, unique: str):
    """A task that does nothing but publish ends soon after it is cancelled, by a scope or by asyncio itself."""
    await bus.subscribe(unique, lambda _: None)

    async def flood() -> None:
        while True:
            await bus.publish(unique, b"x" * 10_000)

    with anyio.fail_after(10), anyio.move_on_after(0.1):
        await flood()
    task = asyncio.get_running_loop().create_task(flood())
    await anyio.sleep(0.05)
    task.cancel()
    with anyio.fail_after(10):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_statistics_and_states(nodes: Any, unique: str):
    """Counters count, and a listener hears the end."""
    bus = await nodes.join()
    got: list[Delivery] = []
    await bus.subscribe(unique, got.append)
    await bus.publish(unique, b"")
    await until(lambda: got)
    statistics = bus.statistics()
    assert statistics.state == "connected"
    assert statistics.sent >= 1
    assert statistics.received >= 1
    assert statistics.subscriptions == 2
