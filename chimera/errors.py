"""The closed list of errors. One error has three faces: problem+json, NATS headers, the last line of the CLI.

``executed`` tells a caller whether the work may have run: after ``no`` a retry is safe.
"""

from __future__ import annotations

from typing import Any, ClassVar

from subjects.problem import PROBLEM_TYPE, Executed, Problem


class ChimeraError(Exception):
    """Something went wrong.

    The docstring's first line is the title and the default detail; ``hint`` says what to do next.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    executed: Executed = "maybe"
    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self.detail = detail or self.title()
        self.hint = hint or self.default_hint
        self.retry_after_s = retry_after_s
        self.data = data
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """The first line of the docstring, without its full stop."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")

    def problem(self) -> Problem:
        """The wire form."""
        return Problem(
            type=PROBLEM_TYPE + self.code, title=self.title(), status=self.status, detail=self.detail, code=self.code,
            executed=self.executed, hint=self.hint, retry_after_s=self.retry_after_s, data=self.data,
        )  # fmt: skip


class BadMessageError(ChimeraError):
    """The message does not fit its type."""

    code, status, executed, exit_code = "bad-message", 400, "no", 2
    default_hint = "mend the field that is named and send it again"


class UnauthorizedError(ChimeraError):
    """A token is needed for this, and it must be the right one."""

    code, status, executed = "unauthorized", 401, "no"
    default_hint = "send 'Authorization: Bearer <token>'; the token is in <data folder>/secrets/http-token"


class DeniedError(ChimeraError):
    """This caller may not do that."""

    code, status, executed = "denied", 403, "no"
    default_hint = "use credentials of a role that may, see <data folder>/secrets"


class NotRunningError(ChimeraError):
    """Nobody answers there: the actor is not running."""

    code, status, executed, exit_code = "not-running", 404, "no", 3
    default_hint = "see what runs with: chimera status"


class NotFoundError(ChimeraError):
    """There is no such thing."""

    code, status, executed = "not-found", 404, "no"


class NoAgentError(NotFoundError):
    """There is no agent of that name."""

    code = "no-agent"
    default_hint = "list them with: chimera agents"


class NoReleaseError(NotFoundError):
    """The agent has no such release."""

    code = "no-release"
    default_hint = "list them with: chimera agents show NAME"


class NoJobError(NotFoundError):
    """No task with that job_id is known here."""

    code = "no-job"
    default_hint = "feedback is taken while the task is still in the window of stored answers"


class NoExperimentError(NotFoundError):
    """There is no such experiment."""

    code = "no-experiment"
    default_hint = "list them with: chimera experiment list"


class NoTuneError(NotFoundError):
    """There is no such auto-tune."""

    code = "no-tune"
    default_hint = "list them with: chimera call optimizer.status"


class NoModelError(NotFoundError):
    """There is no such model, or no such version of it."""

    code = "no-model"
    default_hint = "list them with: chimera call optimizer.models '{\"all\": true}'"


class NoEvolutionError(NotFoundError):
    """There is no evolution with this id, or none at all yet."""

    code = "no-evolution"
    default_hint = "list them with: chimera evolve list"


class NoGenomeError(NotFoundError):
    """There is no genome with this id."""

    code = "no-genome"
    default_hint = "list them with: chimera genome list"


class NoLeaseError(NotFoundError):
    """There is no such lease, or it ended long ago."""

    code = "no-lease"
    default_hint = "list them with: chimera gpu leases"


class NoDeviceError(NotFoundError):
    """There is no such device or node."""

    code = "no-device"
    default_hint = "list them with: chimera gpu status"


class MethodError(ChimeraError):
    """The path is right, the method is not."""

    code, status, executed, exit_code = "method", 405, "no", 2
    default_hint = "use one of the methods in the Allow header"


class SlowBodyError(ChimeraError):
    """The request's body took too long to arrive."""

    code, status, executed = "slow-body", 408, "no"
    default_hint = "send it faster, or allow more with the setting http.body_timeout_s"


class ConflictError(ChimeraError):
    """It clashes with what is already there."""

    code, status, executed = "conflict", 409, "no"


class FencedError(ConflictError):
    """Somebody else changed it first: compare-and-set lost."""

    code = "fenced"
    default_hint = "read the present state and decide again"


class TooLargeError(ChimeraError):
    """The message is too large."""

    code, status, executed = "too-large", 413, "no"


class MediaTypeError(ChimeraError):
    """The body is not JSON."""

    code, status, executed, exit_code = "media-type", 415, "no", 2
    default_hint = "send 'Content-Type: application/json', or no Content-Type at all"


class KeyReusedError(ChimeraError):
    """The Idempotency-Key was used before, for another request."""

    code, status, executed = "key-reused", 422, "no"
    default_hint = "make a new key for a new request"


class BadModuleError(ChimeraError):
    """The WebAssembly module is refused."""

    code, status, executed = "bad-module", 422, "no"
    default_hint = "the ABI 'chimera v1' is described in CONTRIBUTING.md"


class BadGenomeError(ChimeraError):
    """The genome does not fit the manifest."""

    code, status, executed = "bad-genome", 422, "no"


class BadSettingError(ChimeraError):
    """A setting is wrong."""

    code, status, executed, exit_code = "bad-setting", 422, "no", 2
    default_hint = "see every setting and where it comes from with: chimera config show"


class OverloadedError(ChimeraError):
    """The mailbox is full."""

    code, status, executed = "overloaded", 429, "no"
    default_hint = "wait for retry_after_s and try again"


class NoCapacityError(OverloadedError):
    """Nothing that fits is free. ``data`` holds the position in the queue and an estimate, if there is one."""

    code = "no-capacity"


class OverBudgetError(ChimeraError):
    """The tenant's budget does not cover it."""

    code, status, executed = "over-budget", 402, "no"


class CancelledByCallerError(ChimeraError):
    """The caller went away."""

    code, status, executed, exit_code = "cancelled", 499, "maybe", 130


class CrashedError(ChimeraError):
    """The handler failed; its supervisor decides what happens to the actor."""

    code, status, executed = "crashed", 500, "maybe"
    default_hint = "see the cause with: chimera logs --event actor-crashed"


class AgentError(ChimeraError):
    """The agent refused its input."""

    code, status, executed = "agent-error", 422, "maybe"
    default_hint = "the detail is the agent's own word"


class AgentTrapError(ChimeraError):
    """The agent's code trapped; its instance was thrown away."""

    code, status, executed = "agent-trap", 502, "maybe"
    default_hint = "the agent has a fault; roll it back with: chimera agents rollback NAME"


class AgentLimitError(ChimeraError):
    """The agent used more than its limit; its instance was thrown away."""

    code, status, executed = "agent-limit", 502, "maybe"
    default_hint = "deploy it with a higher limit, or mend it"


class AgentContractError(ChimeraError):
    """The agent broke the ABI; its instance was thrown away."""

    code, status, executed = "agent-contract", 502, "maybe"
    default_hint = "the ABI 'chimera v1' is described in CONTRIBUTING.md"


class CorruptError(ChimeraError):
    """What is stored does not match its checksum; it is not used."""

    code, status, executed = "corrupt", 500, "no"
    default_hint = "restore a sound version"


class UnavailableError(ChimeraError):
    """It can't be done now."""

    code, status, executed, exit_code = "unavailable", 503, "maybe", 4


class RestartingError(UnavailableError):
    """The actor is being restarted; the message was not taken."""

    code, executed = "restarting", "no"
    default_hint = "try again after retry_after_s"


class BreakerOpenError(UnavailableError):
    """The agent's circuit breaker is open."""

    code, executed = "breaker-open", "no"
    default_hint = "it failed too often; it is tried again after retry_after_s"


class LayerNotRunningError(UnavailableError):
    """The layer that answers this is not running."""

    code, executed = "layer-not-running", "no"
    default_hint = "start a node that hosts that role"


class BusDownError(UnavailableError):
    """There is no connection to NATS."""

    code, executed, exit_code = "bus-down", "no", 3
    default_hint = "start the server, or say where it is with --nats-url or CHIMERA_NATS__URL"


class ConnectionLostError(BusDownError):
    """The connection to NATS was lost while the answer was awaited."""

    code, executed = "connection-lost", "maybe"
    default_hint = "ask what became of it, or send it again with the same id"


class StartError(UnavailableError):
    """The node can't start."""

    code, executed, exit_code = "start", "no", 1


class DeadlineError(ChimeraError):
    """The deadline passed.

    ``data["stage"]`` says where the message was: ``sent``, ``queued`` (then it did not run) or ``running``.
    """

    code, status, executed = "deadline", 504, "maybe"
    default_hint = "allow more time, or see the queue with: chimera status"

    def __init__(self, detail: str = "", *, stage: str = "sent", **fields: Any) -> None:
        super().__init__(detail or f"the deadline passed while the message was {stage}", **fields)
        self.data = {**(self.data or {}), "stage": stage}
        if stage == "queued":
            self.executed = "no"
            self.hint = "it did not run: a retry is safe"


class CycleError(ChimeraError):
    """The ask would wait for itself."""

    code, status, executed = "cycle", 508, "no"
    default_hint = "make one of the asks a tell, or mark the handler interleave=True"


def _all_errors(base: type[ChimeraError]) -> list[type[ChimeraError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _all_errors(child))]


ERRORS: dict[str, type[ChimeraError]] = {kind.code: kind for kind in reversed(_all_errors(ChimeraError))}
"""The closed list, by code."""


def from_problem(problem: Problem) -> ChimeraError:
    """The error that a problem came from; an unknown code becomes the base class with the code in ``data``."""
    kind = ERRORS.get(problem.code)
    if kind is None:
        error = ChimeraError(problem.detail, hint=problem.hint, data={"code": problem.code, **(problem.data or {})})
        error.executed = problem.executed
        return error
    error = kind.__new__(kind)
    ChimeraError.__init__(
        error, problem.detail, hint=problem.hint, retry_after_s=problem.retry_after_s, data=problem.data
    )
    if problem.executed != kind.executed:
        error.executed = problem.executed
    return error


def flatten(error: BaseException) -> str:
    """One line naming an unexpected exception: its type and text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
