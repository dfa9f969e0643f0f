"""A trained model as it is stored: what it was trained on, how wrong it is, its parameters, and its checksum."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import msgspec

from chimera.errors import CorruptError

Kind = Literal["latency", "load", "figure", "drift", "surrogate"]
"""Forecasters of a latency, of a load and of any other figure; a baseline of inputs; a surrogate of a KPI."""

MOST_BYTES = 1 << 20
FORMAT = 1
Body = TypeVar("Body")


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a model. ``sealed`` makes it, ``to_bytes`` and ``from_bytes`` store it; nothing is pickled.

    Attributes:
        name: What it is a model of, for instance ``sentiment/run_ms``.
        version: Counted by whoever stores it.
        trained_at: Unix time.
        window_from: Unix time of the first training value.
        window_to: Unix time after the last one.
        rows: Training values.
        error: Mean absolute error on held-out values, in ``unit``; ``None`` where there is nothing to predict.
        baseline_error: That of the naive method on the same values.
        coverage: Share of held-out values within the 90 % interval.
        unit: Of the errors.
        body: The parameters, msgpack.
        digest: sha256 over all the rest, hex.
        format: Of the body.
    """

    name: str
    kind: Kind
    version: int
    trained_at: float
    window_from: float
    window_to: float
    rows: int
    error: float | None
    baseline_error: float | None
    coverage: float | None
    unit: str
    body: bytes
    digest: str = ""
    format: int = FORMAT

    @property
    def sound(self) -> bool:
        """Whether the checksum is right."""
        return self.digest == _digest(self)

    @property
    def better(self) -> bool:
        """Whether it beats the naive method on held-out values; only such a model should be made live."""
        return self.error is None or self.baseline_error is None or self.error < self.baseline_error


def sealed(model: Model) -> Model:
    """The model with its checksum."""
    return msgspec.structs.replace(model, digest=_digest(model))


def renumbered(model: Model, version: int) -> Model:
    """The same model under another version, sealed again."""
    return sealed(msgspec.structs.replace(model, version=version))


def to_bytes(model: Model) -> bytes:
    """What is stored."""
    return msgspec.msgpack.encode(model)


def from_bytes(data: bytes) -> Model:
    """What was stored, verified.

    Raises:
        CorruptError: If it is not a model of this format or its checksum is wrong.
    """
    if len(data) > MOST_BYTES:
        raise CorruptError(f"a model of {len(data)} bytes is larger than any we make ({MOST_BYTES})")
    try:
        model = msgspec.msgpack.decode(data, type=Model)
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise CorruptError(f"what is stored is not a model: {error}") from error
    if not model.sound:
        raise CorruptError(f"the checksum of model {model.name} version {model.version} is wrong")
    if model.format != FORMAT:
        raise CorruptError(f"model {model.name} has format {model.format}, this program reads {FORMAT}")
    return model


def body_of(model: Model, shape: type[Body]) -> Body:
    """The parameters, typed.

    Raises:
        CorruptError: If they have another shape.
    """
    try:
        return msgspec.msgpack.decode(model.body, type=shape)
    except msgspec.DecodeError as error:
        raise CorruptError(
            f"the parameters of model {model.name} version {model.version} don't fit: {error}"
        ) from error


def packed(parameters: Any) -> bytes:
    """Parameters as a model's body."""
    return msgspec.msgpack.encode(parameters)


def _digest(model: Model) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(msgspec.structs.replace(model, digest=""))).hexdigest()
