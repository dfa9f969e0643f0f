"""What a guest's outcome means: an answer, or one of the closed list of errors."""

from __future__ import annotations

from typing import Any

from chimera.errors import (
    AgentContractError,
    AgentError,
    AgentLimitError,
    AgentTrapError,
    ChimeraError,
    RestartingError,
    UnavailableError,
)
from chimera.sandbox.contract import GuestFailure, GuestResult
from chimera.sandbox.sweep import decode_object
from subjects.agent import BreakerState
from subjects.event import Outcome

from .breaker import Breaker

_ERRORS: dict[str, type[ChimeraError]] = {
    "agent-error": AgentError,
    "agent-trap": AgentTrapError,
    "agent-limit": AgentLimitError,
    "agent-contract": AgentContractError,
}
_OUTCOMES: dict[str, Outcome] = {
    "agent-error": "agent-error",
    "agent-trap": "agent-trap",
    "agent-limit": "agent-limit",
    "agent-contract": "agent-contract",
    "lost": "crashed",
}


def decode_output(result: GuestResult) -> dict[str, Any]:
    """The guest's answer.

    Raises:
        AgentContractError: If it is not a JSON object, or nested too deep to be passed on.
    """
    return decode_object(result.output)


def error_of(failure: GuestFailure) -> ChimeraError:
    """The error that a failed task is answered with."""
    if failure.kind == "lost":
        kind = UnavailableError if failure.executed else RestartingError
        return kind(failure.detail or "the worker died under the task", retry_after_s=0.1)
    data = {"limit": failure.limit} if failure.limit else None
    return _ERRORS[failure.kind](failure.detail, data=data)


def outcome_of(failure: GuestFailure) -> Outcome:
    """The word for a failed task in its record."""
    return _OUTCOMES[failure.kind]


def is_fault(failure: GuestFailure) -> bool:
    """True if the circuit breaker counts it; an agent's own refusal of an input is an answer."""
    return failure.kind != "agent-error"


def breaker_state(breaker: Breaker, now: float) -> BreakerState:
    """The breaker as it is shown."""
    return BreakerState(
        state=breaker.state(now), failures=breaker.failures, retry_after_s=round(breaker.retry_after(now), 3)
    )
