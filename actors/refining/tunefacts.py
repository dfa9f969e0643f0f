"""What of a tune's log other layers are told, and in which words people read it. Pure."""

from __future__ import annotations

from actors.tuning import Asked, Failed, Told
from subjects.optimizer import TuneEvent

from .tunelog import Ended, Gated, Judged, Started, Tried, TuneEntry
from .tunestate import TuneFold


def fact_of(entry: TuneEntry, fold: TuneFold) -> TuneEvent | None:
    """The fact that an entry states; ``None`` if it concerns nobody else.

    Args:
        entry: One of the tune's.
        fold: The tune with the entry taken in.
    """
    match entry:
        case Started():
            return TuneEvent(tune=fold.id, agent=fold.agent, step="started", at=entry.at)
        case Tried():
            return _of_trial(entry, fold)
        case Gated():
            return TuneEvent(
                tune=fold.id, agent=fold.agent, step="experiment", at=entry.at, reason=entry.experiment,
                trial=fold.round.offset + entry.trial, genome=fold.round.genes(entry.trial),
            )  # fmt: skip
        case Judged():
            step = "discarded" if entry.release is None else "promoted"
            return TuneEvent(tune=fold.id, agent=fold.agent, step=step, at=entry.at, reason=entry.reason)
        case Ended():
            return TuneEvent(tune=fold.id, agent=fold.agent, step="ended", at=entry.at, reason=fold.decided[0])
        case _:
            return None


def words_of(fact: TuneEvent) -> str:
    """The fact as a line for people."""
    trial = "" if fact.trial is None else f" trial {fact.trial}"
    value = "" if fact.value is None else f" {fact.value:.6g}"
    reason = fact.reason and f": {fact.reason}"
    return f"{fact.tune} of {fact.agent}: {fact.step}{trial}{value}{reason}"


def _of_trial(entry: Tried, fold: TuneFold) -> TuneEvent | None:
    event, at = entry.event, fold.round.offset
    match event:
        case Asked():
            return TuneEvent(
                tune=fold.id, agent=fold.agent, step="proposed", at=event.at, trial=at + event.number,
                genome=fold.round.genes(event.number), reason=event.by,
            )  # fmt: skip
        case Told():
            return TuneEvent(
                tune=fold.id, agent=fold.agent, step="told", at=event.at, trial=at + event.number, value=event.value
            )
        case Failed():
            return TuneEvent(
                tune=fold.id, agent=fold.agent, step="told", at=event.at, trial=at + event.number, reason=event.reason
            )
        case _:
            return None
