"""The cases of an evolution, parted into training and validation, known by a digest, kept to be found again. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from actors.refining.recorded import Recorder
from chimera.errors import BadMessageError, CorruptError
from subjects.evolution import Case, Window

from .aims import Need
from .cases import VALIDATION, LabelledTask, Side, recorded_cases, supplied_cases

FEWEST = 20
"""Cases on one side below which a search would follow chance."""


@dataclass(frozen=True)
class Caseload:
    """Cases in a fixed order; a genome's figures name them by their number in it."""

    side: Side
    cases: tuple[LabelledTask, ...]

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def centre(self) -> float:
        """Mean of the judged scores; 0 if there are none."""
        scores = [case.score for case in self.cases if case.score is not None]
        return math.fsum(scores) / len(scores) if scores else 0.0

    @cached_property
    def digest(self) -> str:
        """sha256 over the cases in order: inputs, and what was said of them."""
        found = hashlib.sha256(self.side.encode())
        for case in self.cases:
            found.update(_encode(case))
        return found.hexdigest()


@dataclass(frozen=True)
class CaseSplit:
    """All cases of one evolution."""

    train: Caseload
    validation: Caseload

    @cached_property
    def window(self) -> Window:
        """Where they come from, and what they are known by."""
        seqs = [case.seq for side in (self.train, self.validation) for case in side.cases if case.seq]
        return Window(
            source="recorded" if seqs else "supplied", first=min(seqs, default=0), last=max(seqs, default=0),
            train=len(self.train), validation=len(self.validation),
            digest=hashlib.sha256(f"{self.train.digest}\n{self.validation.digest}".encode()).hexdigest(),
        )  # fmt: skip


def of_recorder(recorder: Recorder, agent: str, *, most: int, needs: Collection[Need] = ()) -> CaseSplit:
    """The newest recorded tasks of an agent. Half of all that was recorded is the gate's alone and not among them.

    Args:
        recorder: Holds what was recorded; tasks without their input are left out.
        agent: Whose.
        most: Training cases at most; validation has as many more as belong to them.
        needs: Only those of which somebody said this.

    Raises:
        BadMessageError: If there are too few.
    """
    return split(_told(recorded_cases(recorder.tasks(agent, part="tune")), needs), most)


def of_request(
    cases: Sequence[Case], *, most: int, task: str = "predict", needs: Collection[Need] = ()
) -> CaseSplit:  # fmt: skip
    """Supplied cases.

    Raises:
        BadMessageError: If there are too few.
    """
    return split(_told(supplied_cases(cases, task), needs), most)


def split(cases: Sequence[LabelledTask], most: int) -> CaseSplit:
    """Both sides, the newest of each.

    Raises:
        BadMessageError: If one has less than ``FEWEST``.
    """
    train = [case for case in cases if case.side == "train"][-most:]
    rest = max(FEWEST, round(most * VALIDATION / (1.0 - VALIDATION)))
    validation = [case for case in cases if case.side == "validation"][-rest:]
    if min(len(train), len(validation)) < FEWEST:
        raise BadMessageError(
            f"{len(train)} tasks to breed on and {len(validation)} to validate: at least {FEWEST} of each are needed",
            hint=f"serve and judge more tasks, or give about {round(2 * FEWEST / VALIDATION)} cases or more",
        )
    return CaseSplit(Caseload("train", tuple(train)), Caseload("validation", tuple(validation)))


def _told(cases: Sequence[LabelledTask], needs: Collection[Need]) -> list[LabelledTask]:
    found = [case for case in cases if all(getattr(case, need) is not None for need in needs)]
    if cases and len(found) < len(cases) and len(found) < 2 * FEWEST:
        said = " and a ".join(sorted(needs))
        raise BadMessageError(
            f"{len(found)} of {len(cases)} tasks were judged by a {said}, which the objectives need",
            hint="choose objectives by what was judged (score_error, a correlation: score; correct: label), or none",
        )
    return found


def pack_split(found: CaseSplit) -> bytes:
    """The cases as bytes, to be kept under the window's digest."""
    return _encode((found.train.cases, found.validation.cases))


def unpack_split(data: bytes, digest: str) -> CaseSplit:
    """The cases of bytes.

    Raises:
        CorruptError: If they are not those that the digest names.
    """
    try:
        train, validation = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"the tasks of an evolution can't be read: {error}") from error
    found = CaseSplit(Caseload("train", train), Caseload("validation", validation))
    if found.window.digest != digest:
        raise CorruptError("the tasks of an evolution are not those that it began with")
    return found


_Cases = tuple[LabelledTask, ...]
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decoder = msgspec.msgpack.Decoder(tuple[_Cases, _Cases])
