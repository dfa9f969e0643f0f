"""The decisions of the release book: which release is live, on trial and kept warm after an act. Pure functions."""

from __future__ import annotations

from typing import Literal

import msgspec

from chimera.errors import ConflictError, NoAgentError, NoReleaseError

Act = Literal["registered", "deployed", "candidate", "rolled-back", "retired"]


class Pointers(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's state, one value in the book, changed by compare-and-set only.

    ``act`` is the unique id of the act that wrote it: a writer whose acknowledgement was lost knows its own work by it.
    ``last`` is the highest release number that is taken.
    """

    state: Literal["live", "retired"] = "live"
    live: int
    candidate: int | None = None
    share: float = 0.0
    previous: int | None = None
    last: int
    act: str = ""


def registered(number: int) -> Pointers:
    """A new agent, its first release live."""
    return Pointers(live=number, last=number)


def deployed(now: Pointers, number: int, share: float) -> tuple[Act, Pointers]:
    """Go to release ``number``: at once with ``share`` 1, else on trial with that share.

    A swap ends a trial, because its comparison partner is gone. Repeating an act changes nothing.

    Raises:
        ConflictError: If the live release, or a retired agent's, would go on trial.
    """
    last = max(now.last, number)
    if share < 1.0:
        return "candidate", _on_trial(now, number, share, last)
    if now.state == "retired":
        return "deployed", Pointers(live=number, last=last)
    if number == now.live:
        return "deployed", now
    return "deployed", Pointers(live=number, previous=now.live, last=last)


def rolled_back(now: Pointers, agent: str) -> Pointers:
    """Without the candidate if there is one, else back at the previous release.

    There is one step back, not two: a repeated rollback must never bring the bad release back.

    Raises:
        NoReleaseError: If there is nothing to go back to.
        NoAgentError: If the agent is retired.
    """
    if now.state == "retired":
        raise NoAgentError(f"agent '{agent}' is retired", hint="deploy one of its releases to bring it back")
    if now.candidate is not None:
        return msgspec.structs.replace(now, candidate=None, share=0.0)
    if now.previous is None:
        raise NoReleaseError(
            f"agent '{agent}' has no previous release to return to", hint="deploy a release by its number instead"
        )
    return Pointers(live=now.previous, last=now.last)


def retired(now: Pointers) -> Pointers:
    """Out of service; the releases stay on record."""
    return Pointers(state="retired", live=now.live, last=now.last)


def _on_trial(now: Pointers, number: int, share: float, last: int) -> Pointers:
    if now.state == "retired":
        raise ConflictError("a retired agent has no traffic to share", hint="deploy with share 1 to bring it back")
    if number == now.live:
        raise ConflictError(f"release {number} is live already", hint="a candidate must be another release")
    return msgspec.structs.replace(now, candidate=number, share=share, last=last)
