"""The models: trained at intervals and on demand, watched for drift, in versions that can be verified and restored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from actors.insight.intake import LOAD
from actors.insight.model import Model, from_bytes, renumbered, to_bytes
from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import BadMessageError, ChimeraError, CorruptError, NoModelError
from subjects import is_token
from subjects.optimizer import (
    BackUpModel,
    CheckModels,
    ModelsHealth,
    ModelView,
    RestoreModels,
    StoredModel,
    StoreModel,
    TrainModels,
)

from .aside import Aside, Stop
from .challenge import Live, challenge, inspect
from .lessons import Lesson, lessons, model_name
from .model_store import Card, ModelStore, Shelf
from .observatory import Observatory

INSPECT_S = 60.0
CLEAR = 0.9
"""Share of the naive method's error that a taught model may have: the best of its settings flatters it a little."""

RETRY_S = 600.0
"""Least time between two trainings of a model by itself."""


class ModelShelf:
    """Keeps a latency and a load forecaster per agent, and references of its inputs and answers.

    A live model is inspected every minute. One that is old, or whose errors or inputs have drifted, is trained again;
    where too little came since, a person is told instead. A new version goes live only if it beats the naive method and
    is no worse than the live one on values that neither has seen; otherwise it is stored, with the reason.

    Several nodes may each have one: what one trains or restores, the others take up at their next inspection.

    Args:
        bus: Where the buckets ``MODELS`` and ``models`` are.
        clock: Time.
        report: Writes an event.
        observatory: Where the series and messages are.
    """

    def __init__(self, *, bus: Bus, clock: Clock, report: Callable[..., Any], observatory: Observatory) -> None:
        self._clock, self._report, self._observatory = clock, report, observatory
        self._store = ModelStore(bus)
        self._aside = Aside()
        self._live: dict[str, Live] = {}
        self._newest: dict[str, float] = {}
        self._turn = anyio.Lock()

    async def run(self) -> None:
        """Load what is live, then inspect and train at intervals, until cancelled."""
        loaded = False
        while True:
            with suppress(ChimeraError):  # the bus is away: the next turn comes
                if not loaded:
                    await self.load()
                    loaded = True
                await self.inspect()
            await self._clock.sleep(INSPECT_S if loaded else 1.0)

    async def load(self) -> None:
        """Read and verify every live model; those that are corrupt are told, and left out."""
        swept = await self._store.sweep()
        corrupt = await self._refresh()
        words = f"{len(self._live)} live models loaded" + (f"; corrupt: {', '.join(corrupt)}" if corrupt else "")
        level = "error" if corrupt else "info"
        self._report("model-loading", words, level=level, loaded=len(self._live), corrupt=corrupt, swept=swept)

    def live(self, name: str) -> Model | None:
        """The live model of that name."""
        found = self._live.get(name)
        return found.model if found else None

    def loads(self, agents: Sequence[str]) -> dict[str, Model]:
        """The live load forecasters of these agents."""
        found = {agent: self.live(model_name(agent, LOAD)) for agent in agents}
        return {agent: model for agent, model in found.items() if model is not None}

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def models(self, message: CheckModels) -> ModelsHealth:
        """Every live model (with ``all``: every version), each read from the store and verified now."""
        shelves, corrupt = await self._store.shelves()
        views: list[ModelView] = []
        failed = bool(corrupt)
        for shelf in shelves:
            for card in shelf.cards:
                is_live = card.version == shelf.live
                if is_live or message.all:
                    views.append(self._view(shelf, card))
                    trouble = await self._trouble(shelf, card)
                    corrupt += [f"{shelf.name}/{card.version}"] if trouble else []
                    failed = failed or bool(trouble and is_live)
        doubtful = bool(corrupt) or any(view.drifted for view in views)
        return ModelsHealth(
            status="fail" if failed else "warn" if doubtful else "pass", models=views, corrupt=corrupt
        )  # fmt: skip

    async def restore(self, message: RestoreModels) -> ModelsHealth:
        """Make stored versions live again, each verified first.

        Raises:
            NoModelError: If there is no such model or version.
            CorruptError: If that version's bytes are not what was stored. The live one stays.
            BadMessageError: If a version is given without a name.
        """
        if message.version is not None and not message.name:
            raise BadMessageError("version: a version of which model?", hint="give its name too")
        async with self._turn:
            if message.name:
                shelf = await self._store.shelf(message.name)
                await self._go_back(shelf, _wanted(shelf, message.version))
            else:
                await self._mend()
        return await self.models(CheckModels())

    async def back_up(self, message: BackUpModel) -> StoredModel:
        """A stored version's bytes, verified.

        Raises:
            NoModelError: If there is no such model or version.
            CorruptError: If its bytes are not what was stored.
        """
        shelf = await self._store.shelf(message.name)
        card = _wanted(shelf, shelf.live if message.version is None else message.version)
        model = await self._store.load(card)
        return StoredModel(
            name=shelf.name, version=card.version, live=card.version == shelf.live, digest=card.digest, note=card.note,
            data=to_bytes(model),
        )  # fmt: skip

    async def take_in(self, message: StoreModel) -> ModelsHealth:
        """Store a version from a backup, verified first; one that is stored already is not stored again.

        Raises:
            CorruptError: If its bytes are not what was backed up.
        """
        model = from_bytes(message.data)
        if not is_token(model.name):
            raise CorruptError(f"{model.name!r} is no name of a model")
        async with self._turn:
            await self._take_in(model, live=message.live)
        return await self.models(CheckModels())

    async def _take_in(self, model: Model, *, live: bool) -> None:
        with suppress(NoModelError):
            shelf = await self._store.shelf(model.name)
            card = next((one for one in shelf.cards if renumbered(model, one.version).digest == one.digest), None)
            if card is not None:
                if live and card.version != shelf.live:
                    await self._go_back(shelf, card)
                return
        card = await self._store.add(model, live=live, note="from a backup")
        if live:
            self._live[model.name] = Live(await self._store.load(card))
        self._newest[model.name] = self._clock.time()
        words = f"{model.name} version {card.version} came from a backup{' and is live' if live else ''}"
        self._report("model-loading", words, model=model.name, version=card.version, live=live)

    async def train(self, message: TrainModels) -> ModelsHealth:
        """Train one model, or all that there is enough data for.

        Raises:
            NoModelError: If nothing was ingested that such a model could be of.
            BadMessageError: If the named model's data is too little.
        """
        async with self._turn:
            found = False
            for make in self._makers():
                lesson = make()
                if message.name in {"", lesson.name}:
                    found = True
                    try:
                        await self._train(lesson, "asked for")
                    except BadMessageError:
                        if message.name:
                            raise
                await checkpoint()
        if message.name and not found:
            raise NoModelError(f"there is nothing to train a model {message.name!r} on")
        return await self.models(CheckModels())

    async def inspect(self) -> None:
        """Look at every model once; train those that need it, unless another node just did."""
        async with self._turn:
            await self._refresh()
            for make in self._makers():
                await self._inspect(make())
                await checkpoint()

    async def _refresh(self) -> list[str]:
        """Take up what is live now, whoever made it so; gives what is corrupt."""
        shelves, corrupt = await self._store.shelves()
        for shelf in shelves:
            self._newest[shelf.name] = shelf.newest_at
            held = self._live.get(shelf.name)
            if held is None or held.model.version != shelf.live:
                model, trouble = await self._read(shelf)
                corrupt += [trouble] if trouble else []
                if model is not None:
                    self._live[shelf.name] = Live(model)
        return corrupt

    # -- training ------------------------------------------------------------------------------------------------------

    def _makers(self) -> list[Callable[[], Lesson]]:
        """What could be taught; each copies one series when it is called."""
        self._observatory.flush()
        return list(lessons(self._observatory.store, self._observatory.samples))

    async def _inspect(self, lesson: Lesson) -> None:
        live, now = self._live.get(lesson.name), self._clock.time()
        if live is None:
            await self._try(lesson, "there was none")
            return
        decision = await self._aside.run(lambda _stop: inspect(live, lesson, now))
        if decision.act == "retrain":
            await self._try(lesson, decision.reason)
        elif live.drifted and not live.alerted:
            live.alerted = True
            self._report("model-optimization", decision.reason, level="warning", model=lesson.name, act=decision.act)

    async def _try(self, lesson: Lesson, reason: str) -> None:
        """Train, unless it was tried a moment ago or the data is too little."""
        newest = self._newest.get(lesson.name, 0.0)
        if self._clock.time() - newest >= RETRY_S:
            with suppress(BadMessageError):
                await self._train(lesson, reason)

    async def _train(self, lesson: Lesson, reason: str) -> None:
        now, before = self._clock.time(), self.live(lesson.name)
        if reason != "asked for" and lesson.kind == "drift" and before is not None:
            lesson = lesson.after(before.window_to)

        def work(_stop: Stop) -> tuple[Model, bool, str]:
            return challenge(lesson, now, before)

        model, live, note = await self._aside.run(work)
        self._newest[lesson.name] = now
        await self._keep(model, live=live, note=note, reason=reason)

    async def _keep(self, model: Model, *, live: bool, note: str, reason: str) -> None:
        card = await self._store.add(model, live=live, note=note)
        if live:
            self._live[model.name] = Live(await self._store.load(card))
        words = f"{model.name} version {card.version} ({reason}) is {'live' if live else 'stored, not live'}: it {note}"
        self._report(
            "model-optimization", words, model=model.name, version=card.version, live=live, error=card.error,
            baseline_error=card.baseline_error, rows=card.rows,
        )  # fmt: skip

    async def learn(self, name: str, make: Callable[[], Model], reason: str) -> None:
        """Keep a model that somebody else teaches, ``make`` in a thread; too little to learn from is no model."""

        def work(_stop: Stop) -> Model:
            return make()

        try:
            model = await self._aside.run(work)
        except BadMessageError as error:
            self._report("model-optimization", f"{name} was not trained: {error.detail}", model=name)
            return
        async with self._turn:
            note = f"errs {model.error:.4g} on held-out trials, their mean {model.baseline_error:.4g}"
            await self._keep(model, live=_is_clear(model), note=note, reason=reason)

    # -- restoring -----------------------------------------------------------------------------------------------------

    async def _go_back(self, shelf: Shelf, card: Card) -> None:
        model = await self._store.load(card)
        await self._store.point(shelf.name, card.version)
        self._live[shelf.name] = Live(model)
        self._newest[shelf.name] = self._clock.time()
        words = f"{shelf.name} went from version {shelf.live} to {card.version}"
        self._report("model-loading", words, model=shelf.name, version=card.version, before=shelf.live)

    async def _mend(self) -> None:
        """Every model whose live version is corrupt goes to its newest sound one, where there is one."""
        shelves, _ = await self._store.shelves()
        for shelf in shelves:
            live = shelf.card(shelf.live)
            if not shelf.live or (live is not None and not await self._trouble(shelf, live)):
                continue
            for card in reversed(shelf.cards):
                with suppress(CorruptError):
                    await self._go_back(shelf, card)
                    break

    async def _read(self, shelf: Shelf) -> tuple[Model | None, str]:
        """The live model, or what is wrong with it; neither if none is live."""
        card = shelf.card(shelf.live)
        if card is None:
            return None, f"{shelf.name}/{shelf.live}" if shelf.live else ""
        try:
            return await self._store.load(card), ""
        except CorruptError:
            return None, f"{shelf.name}/{card.version}"

    async def _trouble(self, shelf: Shelf, card: Card) -> str:
        """What is wrong with a stored version; empty if nothing is."""
        try:
            model = await self._store.load(card)
        except CorruptError as error:
            return error.detail
        return "" if (model.name, model.version) == (shelf.name, card.version) else f"{card.blob} is another model"

    def _view(self, shelf: Shelf, card: Card) -> ModelView:
        live, is_live = self._live.get(shelf.name), card.version == shelf.live
        return ModelView(
            name=shelf.name, kind=card.kind, version=card.version, live=is_live, trained_at=card.trained_at,
            age_s=max(0.0, self._clock.time() - card.trained_at), window_from=card.window_from,
            window_to=card.window_to, rows=card.rows, error=card.error, baseline_error=card.baseline_error,
            unit=card.unit, digest=card.digest, size_bytes=card.size_bytes, note=card.note,
            drifted=is_live and live is not None and live.model.version == card.version and live.drifted,
        )  # fmt: skip


def _is_clear(model: Model) -> bool:
    """Whether it beats the naive method by so much that it is not the luck of its training."""
    return model.better and (not model.error or not model.baseline_error or model.error < CLEAR * model.baseline_error)


def _wanted(shelf: Shelf, version: int | None) -> Card:
    """The version asked for, or the one before the live one."""
    if version is not None:
        card = shelf.card(version)
    else:
        card = next((card for card in reversed(shelf.cards) if card.version < shelf.live), None)
    if card is None:
        stored = ", ".join(str(card.version) for card in shelf.cards)
        wanted = f"version {version}" if version is not None else f"version before {shelf.live}"
        raise NoModelError(f"there is no {wanted} of {shelf.name!r}; stored are: {stored}")
    return card
