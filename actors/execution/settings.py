"""What an operator decides about the agent actor."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import structs

from chimera.config.settings import AgentSettings, SandboxSettings
from subjects.agent import Limits

from .breaker import BreakerPolicy
from .window import WindowPolicy

DEFAULT_CAP = Limits(
    cpu_ms=60_000.0, wall_ms=60_000.0, memory_bytes=256 << 20, output_bytes=1 << 20, log_bytes=1 << 20, log_lines=1000
)
"""Most that one task may use where the settings say nothing else."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How the agent actor serves; every default suits one small box.

    Attributes:
        batch_size: Most tasks of a batch, until ``configure_batching`` says otherwise.
        batch_timeout_ms: Longest that a task waits for its batch, until ``configure_batching`` says otherwise.
        queue: Tasks that may wait per release.
        in_flight: Tasks of one agent that may be in the actor at once, so that one agent can't take every turn.
        statistics: Tasks that percentiles and rates cover.
        window: Stored answers.
        breaker: When an agent is taken out of service.
        limits: Most that one task of any agent may use; manifests and deploys are capped to it.
        grants: Grants that a manifest may ask for; ``emit:<pattern>`` covers narrower patterns.
        allow_inline: Whether guests may run inside the actor's own process.
        record_inputs: Whether inputs and outputs are kept in the KPI stream, for replay.
        kpi_max_age_s: Oldest outcome kept, in seconds.
        kpi_max_bytes: Most bytes of outcomes kept.
        events_max_age_s: Oldest fact kept, in seconds.
        events_max_bytes: Most bytes of facts kept.
        replicas: Copies of each stream.
        flush_s: Longest that an outcome waits before it is sent, in seconds.
        outbox: Outcomes that may wait while the bus is away; the oldest beyond it are lost and counted.
        stop_s: Longest that stopping waits for outcomes to be sent, in seconds.
        log_lines_per_s: Lines of one agent that enter the event log per second.
    """

    batch_size: int = 32
    batch_timeout_ms: float = 2.0
    queue: int = 256
    in_flight: int = 128
    statistics: int = 1000
    window: WindowPolicy = field(default_factory=WindowPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    limits: Limits = DEFAULT_CAP
    grants: tuple[str, ...] = ("clock", "random", "wasi")
    allow_inline: bool = False
    record_inputs: bool = True
    kpi_max_age_s: float = 7 * 86_400.0
    kpi_max_bytes: int = 1 << 30
    events_max_age_s: float = 90 * 86_400.0
    events_max_bytes: int = 64 << 20
    replicas: int = 1
    flush_s: float = 0.02
    outbox: int = 10_000
    stop_s: float = 2.0
    log_lines_per_s: float = 20.0

    @classmethod
    def of(cls, agent: AgentSettings, sandbox: SandboxSettings) -> Serving:
        """What a node's settings say about it."""
        breaker = BreakerPolicy(
            failures=agent.breaker.failures, window_s=agent.breaker.window_s, open_s=agent.breaker.open_s
        )
        return cls(
            batch_size=agent.batch_size, batch_timeout_ms=agent.batch_timeout_ms, queue=agent.queue_max,
            window=WindowPolicy(count=agent.window_max, age_s=agent.window_s), breaker=breaker,
            limits=structs.replace(DEFAULT_CAP, memory_bytes=sandbox.memory_limit_bytes),
            allow_inline=sandbox.allow_inline, record_inputs=agent.record_inputs,
            kpi_max_age_s=agent.kpi.max_age_s, kpi_max_bytes=agent.kpi.max_bytes,
        )  # fmt: skip
