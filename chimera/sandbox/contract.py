"""What the runtime needs of a sandbox: check a module, load a configured guest, run tasks in it, within limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from subjects.agent import Limits


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What a module turned out to be. Its signatures were checked once; so calls need not check them again."""

    digest: str
    size: int
    tasks: tuple[str, ...]
    has_configure: bool
    imports: tuple[str, ...]
    compile_s: float


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A configured guest: which module, which genome, which limits. Equal specs are the same guest.

    Attributes:
        digest: sha256 of a module that ``check`` accepted.
        genome: One value per gene in the manifest's order, vectors flattened.
        config: Opaque bytes for ``chimera_configure`` after the genes.
        limits: What one task may use.
        reuse: Tasks an instance serves before a fresh one takes over; 1 = fresh per task.
        grants: Host functions granted: ``clock``, ``random``, ``emit:<pattern>``, ``wasi``.
        deterministic: No real clock or randomness, canonical NaNs.
        placement: ``worker`` or ``inline``.
    """

    agent: str
    digest: str
    genome: tuple[float, ...] = ()
    config: bytes = b""
    limits: Limits = field(default_factory=Limits)
    reuse: int = 1
    grants: tuple[str, ...] = ()
    deterministic: bool = True
    placement: Literal["worker", "inline"] = "worker"


@dataclass(frozen=True, slots=True)
class GuestResult:
    """One task's answer and what it used.

    Attributes:
        output: The guest's bytes.
        run_s: Wall time inside the guest, instantiation included.
        cpu_s: CPU time of the thread meanwhile.
        memory_bytes: Linear memory of the instance afterwards.
        log: Lines the guest logged, capped.
        log_dropped: Lines dropped beyond the cap.
        outbox: ``(subject, bytes)`` the guest emitted; to be published only because the task succeeded.
    """

    output: bytes
    run_s: float
    cpu_s: float
    memory_bytes: int
    log: tuple[str, ...] = ()
    log_dropped: int = 0
    outbox: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class GuestFailure:
    """A task that did not succeed. ``kind`` keeps the three outcomes of the ABI apart, and limits by name.

    Attributes:
        kind: ``agent-error`` (its own refusal; the instance stays good), ``agent-trap``, ``agent-limit`` (``limit``
            names which: cpu, wall, memory, output, stack), ``agent-contract``, or ``lost`` (the worker died under it;
            ``executed`` tells whether the task may have begun).
        detail: One sentence for people.
    """

    kind: Literal["agent-error", "agent-trap", "agent-limit", "agent-contract", "lost"]
    detail: str
    limit: str = ""
    run_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    executed: bool = True
    log: tuple[str, ...] = ()


Scalar = bool | float | int | str | None
"""What a sweep keeps of an answer's field."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of payloads that a guest ran one after the other, in columns.

    Attributes:
        outputs: Per field that was asked for, a value per payload; ``None`` where the answer has none.
        run_s: Wall time inside the guest, per payload; shorter than the payloads if the guest was given up.
        cpu_s: CPU time of the thread meanwhile.
        failures: What went wrong, by the payload's place.
    """

    outputs: list[list[Scalar]]
    run_s: list[float]
    cpu_s: list[float]
    failures: dict[int, GuestFailure]


@dataclass(frozen=True, slots=True)
class SandboxStatistics:
    """How full the sandbox is, and counters since the start."""

    workers: int
    idle: int
    waiting: int
    loaded: int
    calls: int
    failures: int
    worker_deaths: int
    instances: int


class Guest(Protocol):
    """A loaded, configured guest, ready on every worker."""

    @property
    def spec(self) -> GuestSpec:
        """What was loaded."""
        ...

    @property
    def info(self) -> ModuleInfo:
        """Its module."""
        ...

    def ready(self) -> bool:
        """True if a ``run`` now would not wait for a worker (bulkhead included)."""
        ...

    async def wait_ready(self) -> None:
        """Wait until a worker is free for this agent. Being woken is no promise: ``run`` still queues."""
        ...

    async def run(
        self, task: str, payloads: Sequence[bytes], *, timeout_s: float | None = None
    ) -> list[GuestResult | GuestFailure]:
        """Run each payload in turn on one worker; one outcome per payload, in order.

        One that fails does not stop those behind it. When the worker dies under a payload, that one is ``lost`` and the
        rest go to another worker. ``timeout_s`` bounds waiting and running together.
        """
        ...

    async def close(self) -> None:
        """Unload it everywhere once running tasks ended."""
        ...


class Sandbox(Protocol):
    """Runs guests. Enter it as an async context manager: it owns its worker processes."""

    async def __aenter__(self) -> Self:
        """Start the workers."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """End the workers; bounded in time."""
        ...

    async def check(self, module: bytes, grants: Sequence[str] = ()) -> ModuleInfo:
        """Verify magic and size, compile in a limited child, check every signature, put it into the cache.

        Raises:
            BadModuleError: With the reason: magic, size, invalid, compile limit, missing or mistyped export, import
                not granted.
        """
        ...

    async def load(self, spec: GuestSpec) -> Guest:
        """Load on every worker, configure, call nothing. Fails as a whole or works as a whole.

        Raises:
            BadModuleError: If the module was never checked or no longer compiles.
            BadGenomeError: If ``chimera_configure`` refuses (its message is the detail).
        """
        ...

    async def sweep(
        self, spec: GuestSpec, task: str, payloads: Sequence[bytes], fields: Sequence[str], *,
        timeout_s: float | None = None, give_up: int = 0,
    ) -> Swept:  # fmt: skip
        """Run the payloads on a guest that is loaded on one worker, for as long as that takes and nowhere else.

        In pieces of ``PIECE_S``: between two of them others get the worker. A payload under which the worker died is a
        failure. After ``give_up`` failures that take long the rest is not run; 0 = never.

        Raises:
            BadModuleError, BadGenomeError: As ``load`` does.
        """
        ...

    def statistics(self) -> SandboxStatistics:
        """Counters and gauges."""
        ...
