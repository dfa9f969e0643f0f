"""The models: trained on what came, verified, restored, kept back when worse, and retrained when the world changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import msgspec
import numpy as np
import pytest

from actors.insight.arrays import Floats
from actors.insight.model import Model
from actors.insight.store import Size
from actors.refining.challenge import Live, challenge, inspect
from actors.refining.lessons import Lesson, model_name
from actors.refining.model_store import BLOBS, KEPT, KEYS, ModelStore
from actors.refining.models_shelf import RETRY_S, ModelShelf
from actors.refining.observatory import Observatory
from actors.refining.samples import KEPT as KEPT_SAMPLES
from actors.refining.samples import Samples
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import BadMessageError, CorruptError, NoModelError
from chimera.testing import ManualClock
from subjects import is_token
from subjects.event import TaskProcessed
from subjects.optimizer import BackUpModel, CheckModels, RestoreModels, StoreModel, TrainModels

pytestmark = pytest.mark.anyio

LATENCY, LOAD, INPUTS = "echo-latency", "echo-load", "echo-inputs"


class World:
    """A shelf over an observatory whose series a test fills by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(MemoryHub(self.clock))
        self.told: list[tuple[str, str]] = []
        self.observatory = Observatory(bus=self.bus, clock=self.clock, report=self.report, size=Size(late_s=0.0))
        self.shelf = self.new_shelf()
        self.rng = np.random.default_rng(3)

    def report(self, name: str, words: str = "", **_fields: Any) -> None:
        """Keep an event."""
        self.told.append((name, words))

    def new_shelf(self) -> ModelShelf:
        """A shelf, as after a restart."""
        return ModelShelf(bus=self.bus, clock=self.clock, report=self.report, observatory=self.observatory)

    async def live_through(self, minutes: int, *, scale: float = 1.0) -> None:
        """Minutes of latencies that wander about, and that of their inputs."""
        store = self.observatory.store
        for minute in range(minutes):
            await self.clock.advance(60.0)
            at = self.clock.time()
            value = scale * float(np.exp(self.rng.normal(1.0, 0.3)))
            store.add("echo/run_ms", at, value, now=at)
            for _ in range(int(self.rng.poisson(6))):
                store.add("echo/error", at, 0.0, now=at)
            self.observatory.samples.take(task(minute, at, round(scale * float(self.rng.uniform(20, 60)))))
        store.advance(self.clock.time() + 60.0)

    async def spoil(self, name: str, version: int) -> None:
        """Flip a bit in a stored version."""
        bucket = await self.bus.objects(BLOBS)
        blob = next(blob for blob in await bucket.names() if blob.startswith(f"{name}.{version:08d}"))
        data = bytearray(await bucket.get(blob) or b"")
        data[len(data) // 2] ^= 1
        await bucket.delete(blob)
        await bucket.put(blob, bytes(data))

    async def versions(self, name: str) -> dict[int, bool]:
        """Stored versions, and whether each is live."""
        health = await self.shelf.models(CheckModels(all=True))
        return {view.version: view.live for view in health.models if view.name == name}


def task(number: int, at: float, length: int) -> TaskProcessed:
    """A served task whose input is so long."""
    return TaskProcessed(
        job_id=f"j{number}", agent="echo", release=1, task="predict", outcome="ok", at=at, queue_ms=0.0, run_ms=1.0,
        cpu_ms=1.0, memory_bytes=1, node="n", input={"text": "x" * length}, output={"label": "a", "score": 0.5},
    )  # fmt: skip


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    """Nothing was ingested yet."""
    world = World()
    async with world.bus:
        yield world


async def test_models_are_trained_from_what_came(world: World):
    """Forecasters and references are live, each with window, rows, error beside the naive one's, and checksum."""
    await world.live_through(300)
    health = await world.shelf.train(TrainModels())
    views = {view.name: view for view in health.models}
    assert {LATENCY, LOAD, INPUTS} <= set(views)
    latency = views[LATENCY]
    assert (latency.live, latency.version, latency.unit) == (True, 1, "ms")
    assert latency.error is not None
    assert latency.baseline_error is not None
    assert latency.error < latency.baseline_error
    assert latency.rows == 300
    assert latency.window_to - latency.window_from == pytest.approx(300 * 60.0)
    assert (health.status, health.corrupt) == ("pass", [])


async def test_too_little_data_is_said(world: World):
    """By name it is an error that says what it takes; for all, nothing is trained; an unknown name is no model."""
    await world.live_through(20)
    with pytest.raises(BadMessageError, match="60"):
        await world.shelf.train(TrainModels(name=LATENCY))
    assert (await world.shelf.train(TrainModels())).models == []
    with pytest.raises(NoModelError):
        await world.shelf.train(TrainModels(name="nobody-latency"))


async def test_a_corrupt_version_is_named_and_an_older_one_restored(world: World):
    """A flipped bit makes health fail and name the version; restoring takes the newest sound one, and all is well."""
    await world.live_through(300)
    for _ in range(2):
        await world.shelf.train(TrainModels(name=INPUTS))
    await world.spoil(INPUTS, 2)
    health = await world.shelf.models(CheckModels())
    assert (health.status, health.corrupt) == ("fail", [f"{INPUTS}/2"])
    restored = await world.shelf.restore(RestoreModels())
    assert [(view.version, view.live) for view in restored.models] == [(1, True)]
    assert restored.status == "pass"
    everything = await world.shelf.models(CheckModels(all=True))
    assert (everything.status, everything.corrupt) == ("warn", [f"{INPUTS}/2"])


async def test_a_corrupt_version_never_goes_live(world: World):
    """Asked for by number, it is refused by its name and the live one stays."""
    await world.live_through(300)
    for _ in range(2):
        await world.shelf.train(TrainModels(name=INPUTS))
    await world.spoil(INPUTS, 1)
    with pytest.raises(CorruptError):
        await world.shelf.restore(RestoreModels(name=INPUTS, version=1))
    assert await world.versions(INPUTS) == {1: False, 2: True}


async def test_going_back_takes_the_version_before(world: World):
    """Without a number the one before the live one; before the first there is none; a number needs a name."""
    await world.live_through(300)
    for _ in range(3):
        await world.shelf.train(TrainModels(name=INPUTS))
    await world.shelf.restore(RestoreModels(name=INPUTS))
    assert await world.versions(INPUTS) == {1: False, 2: True, 3: False}
    await world.shelf.restore(RestoreModels(name=INPUTS))
    with pytest.raises(NoModelError):
        await world.shelf.restore(RestoreModels(name=INPUTS))
    with pytest.raises(NoModelError):
        await world.shelf.restore(RestoreModels(name=INPUTS, version=9))
    with pytest.raises(BadMessageError):
        await world.shelf.restore(RestoreModels(version=1))


async def test_a_backup_comes_back_on_another_system(world: World):
    """Every version's bytes, taken out and taken in elsewhere, are the same models; again changes nothing."""
    await world.live_through(300)
    for _ in range(2):
        await world.clock.advance(1.0)
        await world.shelf.train(TrainModels(name=INPUTS))
    saved = [await world.shelf.back_up(BackUpModel(name=INPUTS, version=version)) for version in (1, 2)]
    assert [(one.version, one.live) for one in saved] == [(1, False), (2, True)]
    assert await world.shelf.back_up(BackUpModel(name=INPUTS)) == saved[1]
    other = World()
    async with other.bus:
        for _ in range(2):
            for one in saved:
                await other.shelf.take_in(StoreModel(data=one.data, live=one.live))
        assert await other.versions(INPUTS) == {1: False, 2: True}
        model = other.shelf.live(INPUTS)
        await other.shelf.take_in(StoreModel(data=saved[0].data, live=True))
        assert await other.versions(INPUTS) == {1: True, 2: False}
    assert model is not None
    assert model.digest == saved[1].digest


async def test_a_spoiled_backup_is_refused(world: World):
    """One flipped bit, on the way out or in, is a checksum that does not fit; nothing is stored."""
    await world.live_through(300)
    await world.shelf.train(TrainModels(name=INPUTS))
    data = bytearray((await world.shelf.back_up(BackUpModel(name=INPUTS))).data)
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptError):
        await world.shelf.take_in(StoreModel(data=bytes(data), live=True))
    await world.spoil(INPUTS, 1)
    with pytest.raises(CorruptError):
        await world.shelf.back_up(BackUpModel(name=INPUTS))
    with pytest.raises(NoModelError):
        await world.shelf.back_up(BackUpModel(name="nobody"))
    assert len(await world.versions(INPUTS)) == 1


async def test_a_missing_list_of_versions_is_named(world: World):
    """A list that is no JSON makes health fail with the model's name; the others are still told."""
    await world.live_through(300)
    await world.shelf.train(TrainModels())
    await (await world.bus.key_value(KEYS)).put(LATENCY, b"{")
    health = await world.shelf.models(CheckModels())
    assert health.status == "fail"
    assert health.corrupt == [LATENCY]
    assert any(view.name == LOAD for view in health.models)


async def test_old_versions_go(world: World):
    """However often it is trained, a model has so many versions, the live one among them, and no bytes beyond them."""
    await world.live_through(120)
    for _ in range(KEPT + 3):
        await world.shelf.train(TrainModels(name=INPUTS))
    assert len(await world.versions(INPUTS)) == KEPT
    assert len(await (await world.bus.objects(BLOBS)).names()) == KEPT


async def test_the_live_version_outlives_newer_ones(world: World):
    """A live version that nobody beats is never pruned."""
    await world.live_through(300)
    await world.shelf.train(TrainModels(name=LATENCY))
    store = ModelStore(world.bus)
    model = world.shelf.live(LATENCY)
    assert model is not None
    for _ in range(KEPT + 3):
        await store.add(model, live=False)
    assert (await world.versions(LATENCY))[1]


async def test_two_writers_get_two_versions(world: World):
    """Trainings at the same time on two nodes lose nothing: compare-and-set gives each its number."""
    await world.live_through(300)
    await world.shelf.train(TrainModels(name=LATENCY))
    model = world.shelf.live(LATENCY)
    assert model is not None
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lambda: ModelStore(world.bus).add(model, live=False))
    assert sorted(await world.versions(LATENCY)) == [1, 2, 3, 4]


async def test_a_restart_loads_what_was_live_and_sweeps_what_nobody_names(world: World):
    """Live models are back, a corrupt one is told and left out; bytes that a dead training left go, others stay."""
    await world.live_through(300)
    await world.shelf.train(TrainModels())
    await world.spoil(LOAD, 1)
    blobs = await world.bus.objects(BLOBS)
    for orphan in ("echo-load.00000001.abc", "echo-load.00000002.abc"):
        await blobs.put(orphan, b"x")
    again = world.new_shelf()
    await again.load()
    assert again.live(LATENCY) == world.shelf.live(LATENCY)
    assert again.live(LOAD) is None
    assert any(f"{LOAD}/1" in words for name, words in world.told if name == "model-loading")
    assert [name for name in await blobs.names() if name.endswith(".abc")] == ["echo-load.00000002.abc"]


async def test_a_second_node_takes_up_what_the_first_made_live(world: World):
    """What one node trained the other does not train again, and what one restored is live on the other too."""
    await world.live_through(300)
    other = world.new_shelf()
    await world.shelf.inspect()
    await other.inspect()
    assert list(await world.versions(LATENCY)) == [1]
    assert other.live(LATENCY) == world.shelf.live(LATENCY)
    await world.shelf.train(TrainModels(name=INPUTS))
    await world.shelf.restore(RestoreModels(name=INPUTS, version=1))
    await other.inspect()
    assert other.live(INPUTS) == world.shelf.live(INPUTS)


async def test_models_are_trained_by_themselves_but_not_all_the_time(world: World):
    """Inspection trains what is missing, keeps what is good, and renews what is a tenth of its window old."""
    await world.live_through(300)
    await world.shelf.inspect()
    await world.shelf.inspect()
    assert list(await world.versions(LATENCY)) == [1]
    await world.live_through(40)
    await world.shelf.inspect()
    assert list(await world.versions(LATENCY)) == [1, 2]


async def test_drifted_inputs_are_an_alert_or_a_new_reference(world: World):
    """When inputs become ten times as long, the reference says so and is taken anew from what came since."""
    await world.live_through(300)
    await world.shelf.inspect()
    await world.live_through(250, scale=10.0)
    assert RETRY_S < 250 * 60.0
    await world.shelf.inspect()
    assert (await world.versions(INPUTS))[2]
    assert any("drift" in words and INPUTS in words for name, words in world.told if name == "model-optimization")
    await world.shelf.inspect()
    health = await world.shelf.models(CheckModels())
    assert not any(view.drifted for view in health.models if view.name == INPUTS)


def lesson(values: Floats, *, since: float = 0.0) -> Lesson:
    """Minutes of a latency."""
    return Lesson(
        "echo-latency", "latency", since + 60.0 * np.arange(values.size, dtype=np.float64), values, 60.0, "ms"
    )


def trained(values: Floats, *, since: float = 0.0) -> Model:
    """A live model of those minutes."""
    return challenge(lesson(values, since=since), 1.0, None)[0]


def test_a_model_that_is_not_better_than_the_naive_method_is_kept_back():
    """Chosen on noise, it lags behind the climb of the held-out part, which the last value follows."""
    climb: Floats = 6.0 * 1.1 ** np.arange(60, dtype=np.float64)
    values = np.concatenate((np.random.default_rng(12).gamma(3, 2, 240), climb))
    _, live, note = challenge(lesson(values), 1.0, None)
    assert not live
    assert "naive" in note


def test_a_model_that_is_worse_than_the_live_one_is_kept_back():
    """Judged on values that neither has seen, whatever the live one said of itself; a better one replaces it."""
    rng = np.random.default_rng(1)
    calm = rng.gamma(3, 2, 400)
    good = msgspec.structs.replace(trained(calm[:300]), error=1e9)
    walk: Floats = np.exp(np.cumsum(rng.normal(0, 0.3, 320)))
    model, live, note = challenge(lesson(np.concatenate((walk, calm[320:]))), 1.0, good)
    assert model.better
    assert not live
    assert "on the same values" in note
    boast = msgspec.structs.replace(good, error=1e-9)
    risen = np.concatenate((calm[:300], rng.gamma(3, 2, 400) + 30.0))
    assert challenge(lesson(risen), 1.0, boast)[1]


def test_a_live_model_that_goes_wrong_is_noticed():
    """Errors that grow tenfold after training are drift, and call for a new version once enough came."""
    rng = np.random.default_rng(2)
    values = rng.gamma(3, 2, 300)
    live = Live(trained(values))
    calm = lesson(np.concatenate((values, rng.gamma(3, 2, 20))))
    assert inspect(live, calm, 100.0).act == "keep"
    wild = lesson(np.concatenate((calm.values, rng.gamma(3, 2, 100) * 10)))
    assert inspect(live, wild, 100.0).act == "retrain"
    assert live.drifted


def test_a_models_name_is_an_id():
    """Also that of an agent with the longest name, and two of those keep apart."""
    long = ["a" * 63 + end for end in "bc"]
    names = {model_name(agent, "latency") for agent in long}
    assert len(names) == 2
    assert all(is_token(name) for name in names)


def test_samples_keep_the_newest():
    """Beyond their number the oldest go, and the order stays; what has no number leaves none."""
    samples = Samples()
    for number in range(KEPT_SAMPLES + 10):
        samples.take(task(number, float(number), number))
    at, lengths = samples.numbers("echo", "inputs")
    assert at.tolist() == lengths.tolist() == [float(number) for number in range(10, KEPT_SAMPLES + 10)]
    samples.take(msgspec.structs.replace(task(1, 1.0, 1), agent="mute", input=None, output={"label": "x"}))
    assert {agent for agent, _ in samples.sides()} == {"echo"}
