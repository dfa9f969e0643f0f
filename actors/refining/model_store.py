"""Versions of models: their bytes in the object store, and per model a list of versions with a live pointer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from anyio.lowlevel import checkpoint

from actors.insight.model import Model, from_bytes, renumbered, to_bytes
from chimera.bus.contract import Bus, KeyValue, Objects
from chimera.errors import CorruptError, FencedError, NoModelError

KEYS, BLOBS = "MODELS", "models"
KEPT = 6
"""Versions kept of a model, the live one among them."""

_TRIES = 8


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stored version without reading it. ``blob`` is where its bytes lie."""

    version: int
    blob: str
    kind: str
    trained_at: float
    window_from: float
    window_to: float
    rows: int
    error: float | None
    baseline_error: float | None
    unit: str
    digest: str
    size_bytes: int
    note: str = ""


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
    """A model's versions, oldest first, and which one is live; 0 = none. ``next`` was never given to a version."""

    name: str
    live: int = 0
    next: int = 1
    cards: list[Card] = []

    @property
    def newest_at(self) -> float:
        """When its newest version was trained, Unix time; 0 if there is none."""
        return max((card.trained_at for card in self.cards), default=0.0)

    def card(self, version: int) -> Card | None:
        """The version's card."""
        return next((card for card in self.cards if card.version == version), None)


class ModelStore:
    """Reads and writes versions. A pointer is moved by compare-and-set, so two writers never undo each other.

    Args:
        bus: Where both buckets are.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._keys: KeyValue | None = None
        self._blobs: Objects | None = None

    async def shelves(self) -> tuple[list[Shelf], list[str]]:
        """Every model, by name, and the names of those whose list of versions can't be read."""
        keys, _ = await self._open()
        found: list[Shelf] = []
        unreadable: list[str] = []
        for name in await keys.keys():
            try:
                shelf, revision = await self._read(name)
            except CorruptError:
                unreadable.append(name)
                continue
            found += [shelf] if revision else []
        return found, unreadable

    async def shelf(self, name: str) -> Shelf:
        """One model.

        Raises:
            NoModelError: If there is none of that name.
        """
        shelf, revision = await self._read(name)
        if not revision:
            raise NoModelError(f"there is no model {name!r}")
        return shelf

    async def load(self, card: Card) -> Model:
        """A version, verified against its own checksum and its card's.

        Raises:
            CorruptError: If it is missing or not what was stored.
        """
        _, blobs = await self._open()
        data = await blobs.get(card.blob)
        if data is None:
            raise CorruptError(f"{card.blob} is missing")
        model = from_bytes(data)
        if model.digest != card.digest:
            raise CorruptError(f"{card.blob} is another model than the one that was stored")
        return model

    async def add(self, model: Model, *, live: bool, note: str = "") -> Card:
        """Store a new version under the next number, live or not; the oldest ones beyond the limit go.

        Raises:
            FencedError: If others kept changing the model's versions.
        """
        for _ in range(_TRIES):
            shelf, revision = await self._read(model.name)
            numbered = renumbered(model, shelf.next)
            card = await self._put(numbered, note)
            kept, gone = _pruned([*shelf.cards, card], card.version if live else shelf.live)
            fresh = Shelf(
                name=model.name, live=card.version if live else shelf.live, next=shelf.next + 1, cards=kept
            )  # fmt: skip
            if await self._swap(fresh, revision):
                await self._drop([each.blob for each in gone])
                return card
            await self._drop([card.blob])
        raise FencedError(f"the versions of {model.name} were changed by others {_TRIES} times in a row")

    async def point(self, name: str, version: int) -> None:
        """Make a stored version live.

        Raises:
            NoModelError: If there is no such model or version.
            FencedError: If others kept changing the model's versions.
        """

        def pointed(shelf: Shelf) -> Shelf:
            if shelf.card(version) is None:
                raise NoModelError(f"there is no version {version} of {name!r}")
            return msgspec.structs.replace(shelf, live=version)

        await self._change(name, pointed)

    async def sweep(self) -> int:
        """Remove bytes that no list names: a writer died between the two. How many there were.

        Only those of numbers that were given since: what another writer is about to name stays.
        """
        _, blobs = await self._open()
        there = await blobs.names()
        shelves, _ = await self.shelves()
        named = {card.blob for shelf in shelves for card in shelf.cards}
        following = {shelf.name: shelf.next for shelf in shelves}
        orphans = [blob for blob in there if blob not in named and _version(blob) < following.get(_name(blob), 0)]
        await self._drop(orphans)
        return len(orphans)

    async def _change(self, name: str, change: Callable[[Shelf], Shelf]) -> None:
        for _ in range(_TRIES):
            shelf, revision = await self._read(name)
            if await self._swap(change(shelf), revision):
                return
        raise FencedError(f"the versions of {name} were changed by others {_TRIES} times in a row")

    async def _put(self, model: Model, note: str) -> Card:
        _, blobs = await self._open()
        data = to_bytes(model)
        blob = f"{model.name}.{model.version:08d}.{model.digest[:12]}"  # a name has no dots: see ``_version``
        await blobs.put(blob, data)
        return Card(
            version=model.version, blob=blob, kind=model.kind, trained_at=model.trained_at,
            window_from=model.window_from, window_to=model.window_to, rows=model.rows, error=model.error,
            baseline_error=model.baseline_error, unit=model.unit, digest=model.digest, size_bytes=len(data), note=note,
        )  # fmt: skip

    async def _read(self, name: str) -> tuple[Shelf, int]:
        """A model's versions and the key's revision; 0 = there are none."""
        keys, _ = await self._open()
        entry = await keys.get(name)
        if entry is None or entry.value is None:
            return Shelf(name=name), 0
        try:
            return msgspec.json.decode(entry.value, type=Shelf), entry.revision
        except msgspec.DecodeError as error:
            raise CorruptError(f"{KEYS}/{name} can't be read: {error}") from error

    async def _swap(self, shelf: Shelf, revision: int) -> bool:
        """Write if nobody did since ``revision``."""
        keys, _ = await self._open()
        try:
            if revision:
                await keys.update(shelf.name, msgspec.json.encode(shelf), revision)
            else:
                await keys.create(shelf.name, msgspec.json.encode(shelf))
        except FencedError:
            await checkpoint()
            return False
        return True

    async def _drop(self, blobs: list[str]) -> None:
        _, bucket = await self._open()
        for blob in blobs:
            await bucket.delete(blob)

    async def _open(self) -> tuple[KeyValue, Objects]:
        if self._keys is None or self._blobs is None:
            self._keys, self._blobs = await self._bus.key_value(KEYS), await self._bus.objects(BLOBS)
        return self._keys, self._blobs


def _pruned(cards: list[Card], live: int) -> tuple[list[Card], list[Card]]:
    """The live version and the newest others, and those that go."""
    others = [card for card in cards if card.version != live]
    room = KEPT - any(card.version == live for card in cards)
    gone = others[: max(0, len(others) - room)]
    return [card for card in cards if card not in gone], gone


def _name(blob: str) -> str:
    return blob.partition(".")[0]


def _version(blob: str) -> float:
    """The version that bytes were stored for; beyond all if the name is none of ours."""
    part = blob.split(".")[1:2]
    return int(part[0]) if part and part[0].isdecimal() else float("inf")
