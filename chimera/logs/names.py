"""Every event that can stand in the log, and every layer that can state one. The words are the runbook's."""

from __future__ import annotations

from enum import StrEnum


class EventName(StrEnum):
    """What happened, in kebab-case; ``chimera logs --event WORD`` finds it by any part of its name."""

    # execution
    WASM_RUNTIME = "wasm-runtime"
    TASK_PROCESSED = "task-processed"
    SCHEDULING_OPTIMIZATION = "scheduling-optimization"
    CIRCUIT_BREAKER = "circuit-breaker"
    GENOME_UPDATE = "genome-update"
    RELEASE_CHANGED = "release-changed"
    BATCHING_CHANGED = "batching-changed"
    # scheduling
    LEADER_TOOK = "leader-took"
    LEADER_LOST = "leader-lost"
    TASK_DEAD = "task-dead"
    TASK_STUCK = "task-stuck"
    SCHEDULE_REFUSED = "schedule-refused"
    LOG_COMPACTED = "log-compacted"
    # security
    ACCESS_LOG = "access-log"
    SECURITY_EVENT = "security-event"
    DATA_ACCESS = "data-access"
    COMPLIANCE = "compliance"
    # refinement
    PATTERN_ACCURACY = "pattern-accuracy"
    STATISTICAL_TEST = "statistical-test"
    AB_TEST_CONFIG = "ab-test-config"
    MODEL_LOADING = "model-loading"
    MODEL_OPTIMIZATION = "model-optimization"
    MEMORY_USAGE = "memory-usage"
    RESOURCE_OPTIMIZATION = "resource-optimization"
    ANOMALY_DETECTED = "anomaly-detected"
    OPTIMIZATION_TIME = "optimization-time"
    AUTO_TUNE = "auto-tune"
    RESPONSE_TIME = "response-time"
    # evolution
    DEPLOYMENT_SUCCESS = "deployment-success"
    FITNESS_SCORE = "fitness-score"
    GENETIC_OPERATOR = "genetic-operator"
    ALGORITHM_OPTIMIZATION = "algorithm-optimization"
    GENOME_BACKUP = "genome-backup"
    GENOME_ACCESS = "genome-access"
    EVOLUTION_TIME = "evolution-time"
    AUTONOMOUS = "autonomous"
    # resources
    GPU_UTILIZATION = "gpu-utilization"
    CAPACITY_PLANNING = "capacity-planning"
    # node and actors
    NODE_STARTED = "node-started"
    NODE_READY = "node-ready"
    NODE_STOPPING = "node-stopping"
    NODE_STOPPED = "node-stopped"
    NODE_LOST = "node-lost"
    ACTOR_STARTED = "actor-started"
    ACTOR_STOPPED = "actor-stopped"
    ACTOR_STOP_FAILED = "actor-stop-failed"
    ACTOR_CRASHED = "actor-crashed"
    ACTOR_RESTARTED = "actor-restarted"
    SUPERVISOR_GAVE_UP = "supervisor-gave-up"
    MAILBOX_FULL = "mailbox-full"
    CONFIG_LOADED = "config-loaded"
    LOG_DROPPED = "log-dropped"
    # bus and server
    BUS_STATE = "bus-state"
    BUS_ERROR = "bus-error"
    SERVER_STARTED = "server-started"
    SERVER_DIED = "server-died"
    SERVER_STOPPED = "server-stopped"
    # sandbox
    WORKER_STARTED = "worker-started"
    WORKER_DIED = "worker-died"
    # http
    HTTP_STARTED = "http-started"
    HTTP_STOPPED = "http-stopped"
    # store
    DATABASE_CONNECTION = "database-connection"
    CONNECTION_POOL = "connection-pool"
    STORE_REGRESSED = "store-regressed"
    STREAM_ACCEPTED = "stream-accepted"
    RECORD_REJECTED = "record-rejected"


class Layer(StrEnum):
    """Who states an event; the first four are the runbook's layers 4, 5, 7 and 8."""

    EXECUTION = "execution"
    REFINEMENT = "refinement"
    EVOLUTION = "evolution"
    RESOURCES = "resources"
    NODE = "node"
    BUS = "bus"
    HTTP = "http"
    STORE = "store"
    SANDBOX = "sandbox"


LAYER_ALIASES = {
    "agent": Layer.EXECUTION, "scheduler": Layer.EXECUTION, "optimizer": Layer.REFINEMENT, "evolver": Layer.EVOLUTION,
    "gpu_broker": Layer.RESOURCES, "layer4": Layer.EXECUTION, "layer5": Layer.REFINEMENT, "layer7": Layer.EVOLUTION,
    "layer8": Layer.RESOURCES,
}  # fmt: skip
"""Other words for a layer: its actors, and the runbook's numbers."""

_LAYERS: dict[str, Layer] = {**{layer.value: layer for layer in Layer}, **LAYER_ALIASES}

_LOGGERS = (
    ("actors.agent", Layer.EXECUTION), ("actors.scheduler", Layer.EXECUTION), ("actors.optimizer", Layer.REFINEMENT),
    ("actors.evolver", Layer.EVOLUTION), ("actors.gpu_broker", Layer.RESOURCES), ("chimera.bus", Layer.BUS),
    ("chimera.http", Layer.HTTP), ("chimera.store", Layer.STORE), ("chimera.sandbox", Layer.SANDBOX),
    ("nats", Layer.BUS), ("uvicorn", Layer.HTTP), ("wasmtime", Layer.SANDBOX), ("sqlite_utils", Layer.STORE),
)  # fmt: skip


def layer_of(logger: str) -> Layer:
    """The layer that a logger's name belongs to; ``node`` if none does."""
    for prefix, layer in _LOGGERS:
        if logger == prefix or logger.startswith(f"{prefix}."):
            return layer
    return Layer.NODE


def find_layer(word: str) -> Layer | None:
    """The layer a person means by ``word``."""
    return _LAYERS.get(word.lower())
