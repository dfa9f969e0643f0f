"""Every setting there is: frozen, typed, each with its bounds and one line that says what it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from .kinds import Duration, Integer, Kind, Names, Size, Switch, Text
from .tree import NO_TREE, SupervisorSettings

T = TypeVar("T")
_KI, _MI, _GI = 1 << 10, 1 << 20, 1 << 30
_DAY = 86_400.0

ROLES = ("agent", "scheduler", "refinement", "evolution", "resources", "bridge")
"""What a node can host."""


def setting(default: T, kind: Kind[T], meaning: str) -> T:
    """A field with its kind and its meaning. Typed as the value, because that is what a reader of the field gets."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """This node."""

    name: str = setting("", Text(token=True), "name of this node on the bus; empty = made from the host's name")
    roles: tuple[str, ...] = setting(
        ("agent", "scheduler", "refinement", "evolution", "resources", "bridge"),
        Names(ROLES),
        "what this node hosts",
    )
    data_dir: str = setting(
        "",
        Text(what="a folder"),
        "where state, keys and logs are kept; empty = $XDG_DATA_HOME/chimera or ~/.local/share/chimera",
    )
    profile: str = setting("default", Text(token=True), "the profile these settings start from")

    @property
    def data(self) -> Path:
        """``data_dir`` as a path."""
        return Path(self.data_dir)


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """The NATS server: our own, or one that runs elsewhere."""

    url: str = setting(
        "", Text(what="a URL such as nats://host:4222"), "server to use; empty = run our own, on loopback"
    )
    port: int = setting(4222, Integer(0, 65_535), "port of our own server; 0 = any free one")
    server: str = setting(
        "", Text(what="a path"), "the nats-server program; empty = on PATH, else the one that was installed with us"
    )
    seed_file: str = setting(
        "", Text(what="a path"), "file with the nkey seed to log in with; empty = the one in the data folder"
    )
    credentials: str = setting("", Text(what="a path"), "credentials file (.creds) to log in with at a foreign server")
    inbox_prefix: str = setting(
        "_INBOX",
        Text(what="a subject such as _INBOX_runtime"),
        "where these credentials may take replies at url; _INBOX_runtime for the server of another node",
    )
    replicas: int = setting(
        1, Integer(1, 5), "servers of the cluster at url that keep each stream; 3 outlive the loss of one"
    )
    durability: str = setting(
        "power",
        Text(choices=("power", "process", "wear")),
        "what an acknowledged write survives: power = a power cut, process = a crash, "
        "wear = a power cut but for the last second, which spares SD cards",
    )
    max_file_bytes: int = setting(
        8 * _GI,
        Size(16 * _MI, 1 << 50),
        "most disk our own server uses for streams; a stream with a bound of its own gets a twelfth at most",
    )
    max_memory_bytes: int = setting(
        256 * _MI, Size(_MI, 1 << 45), "most memory our own server uses for streams in memory"
    )


@dataclass(frozen=True, slots=True)
class PortSettings:
    """The bridge's ports by role; 0 = any free one."""

    agent: int = setting(8000, Integer(0, 65_535), "port of the execution layer")
    scheduler: int = setting(8001, Integer(0, 65_535), "port of the scheduler")
    refinement: int = setting(8002, Integer(0, 65_535), "port of the refinement layer")
    evolution: int = setting(8003, Integer(0, 65_535), "port of the evolution layer")
    resources: int = setting(8004, Integer(0, 65_535), "port of the resources layer")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP bridge."""

    host: str = setting("127.0.0.1", Text(what="an address"), "address to listen on")
    ports: PortSettings = PortSettings()
    token: str = setting(
        "auto",
        Text(choices=("auto", "always", "never")),
        "when a change needs the bearer token: auto = unless the host is loopback",
    )
    max_body_bytes: int = setting(
        _MI, Size(_KI, 64 * _MI), "largest body of a request; module uploads have their own limit"
    )
    header_timeout_s: float = setting(5.0, Duration(0.1, 300), "how long a client may take to send its headers")
    body_timeout_s: float = setting(15.0, Duration(0.1, 3600), "how long a client may take to send its body")
    connections_per_address: int = setting(64, Integer(1, 100_000), "connections one address may hold")
    idempotency_keep_s: float = setting(_DAY, Duration(1, 30 * _DAY), "how long answers to an Idempotency-Key are kept")


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Where agents run."""

    workers: int = setting(0, Integer(0, 1024), "worker processes; 0 = one per processor")
    memory_limit_bytes: int = setting(256 * _MI, Size(64 * _KI, 4 * _GI), "most linear memory any agent may ask for")
    max_waiting: int = setting(256, Integer(1, 100_000), "tasks that may wait for a worker; one more is refused")
    allow_inline: bool = setting(False, Switch(), "let agents that ask for it run inside the node's own process")
    cache_dir: str = setting("", Text(what="a folder"), "compiled modules; empty = in the data folder")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store of projections."""

    url: str = setting(
        "",
        Text(what="a URL such as sqlite:///path or postgresql://host/database"),
        "where projections are kept; empty = SQLite in the data folder",
    )
    connections: int = setting(8, Integer(1, 200), "most connections to PostgreSQL at once, beside one that watches it")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The event log."""

    level: str = setting("info", Text(choices=("debug", "info", "warning", "error")), "least level that is logged")
    format: str = setting(
        "auto",
        Text(choices=("auto", "console", "json")),
        "form on standard error: auto = console on a terminal, else json",
    )
    keep_bytes: int = setting(64 * _MI, Size(64 * _KI, 1 << 40), "most bytes of log kept in the data folder")
    keep_files: int = setting(8, Integer(2, 1000), "most log files kept in the data folder")


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """The circuit breaker of every agent."""

    failures: int = setting(5, Integer(1, 100_000), "failures within the window that open it")
    window_s: float = setting(30.0, Duration(0.1, 3600), "the window in which failures count")
    open_s: float = setting(
        10.0, Duration(0.1, 3600), "how long it stays open before one task is let through as a probe"
    )


@dataclass(frozen=True, slots=True)
class KpiSettings:
    """The stream with one record per task."""

    max_age_s: float = setting(
        7 * _DAY, Duration(60, 3650 * _DAY), "how long records, recorded inputs included, are kept"
    )
    max_bytes: int = setting(_GI, Size(_MI, 1 << 50), "most bytes of records kept")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How agents are served."""

    batch_size: int = setting(32, Integer(1, 1024), "most tasks handed to a worker at once")
    batch_timeout_ms: float = setting(
        2.0, Duration(0, 10_000, unit="ms"), "longest a task waits for its batch to fill; a free worker does not wait"
    )
    window_s: float = setting(600.0, Duration(0, 7 * _DAY), "how long answers are stored for a repeated job_id")
    window_max: int = setting(10_000, Integer(0, 1_000_000), "most answers stored for a repeated job_id")
    record_inputs: bool = setting(True, Switch(), "keep inputs in the task records, which replay needs")
    queue_max: int = setting(256, Integer(1, 100_000), "tasks that may wait per agent; one more is answered overloaded")
    breaker: BreakerSettings = BreakerSettings()
    kpi: KpiSettings = KpiSettings()


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """The scheduler of durable tasks."""

    queue_max: int = setting(200_000, Integer(1, 100_000_000), "unfinished tasks kept at most; one more is refused")
    queue_bytes: int = setting(512 * _MI, Size(_MI, 1 << 40), "most bytes of inputs of unfinished tasks")
    keep_max: int = setting(20_000, Integer(0, 10_000_000), "finished tasks kept at most, the newest")
    disk_bytes: int = setting(64 * _MI, Size(0, 1 << 50), "free disk space below which no new tasks are taken")
    history_max: int = setting(200_000, Integer(0, 100_000_000), "finished tasks kept in the store at most, the newest")
    history_age_s: float = setting(
        30 * _DAY, Duration(60, 3650 * _DAY), "how long finished tasks are kept in the store"
    )
    dead_age_s: float = setting(30 * _DAY, Duration(60, 3650 * _DAY), "how long dead letters are kept")
    dead_max: int = setting(10_000, Integer(1, 1_000_000), "dead letters kept at most, the newest")
    dead_bytes: int = setting(256 * _MI, Size(_MI, 1 << 40), "most bytes of dead letters kept")


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """The breeding of genomes."""

    genomes_max: int = setting(
        200_000,
        Integer(1_000, 100_000_000),
        "genomes kept in the store; beyond it the oldest go, but champions, their ancestors and the newest evolutions",
    )


@dataclass(frozen=True, slots=True)
class ResourcesSettings:
    """The devices of this node that are lent."""

    interval_s: float = setting(
        2.0, Duration(0.1, 60), "between readings of the devices; a node that is silent for three lends nothing"
    )
    grace_s: float = setting(
        5.0, Duration(0, 600), "from asking the holder of a lease that is over to end, to killing it"
    )
    declared_watts: int = setting(
        0, Integer(0, 10_000), "power of a device that tells neither energy nor power; 0 = not known"
    )
    nvml_library: str = setting(
        "libnvidia-ml.so.1", Text(what="a path or a name"), "the library that reads GPUs; without it there are none"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a node."""

    node: NodeSettings = NodeSettings()
    nats: NatsSettings = NatsSettings()
    http: HttpSettings = HttpSettings()
    sandbox: SandboxSettings = SandboxSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    agent: AgentSettings = AgentSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    evolution: EvolutionSettings = EvolutionSettings()
    resources: ResourcesSettings = ResourcesSettings()
    supervision: SupervisorSettings = field(default=NO_TREE)


@dataclass(frozen=True, slots=True)
class Declared:
    """One setting as it is declared: its dotted name, default, kind and meaning."""

    key: str
    default: Any
    kind: Kind[Any]
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "CHIMERA_" + self.key.replace(".", "__").upper()


def declared(section: type[Any] = Settings, prefix: str = "") -> Iterator[Declared]:
    """Every setting except the supervision tree, in order."""
    for one in fields(section):
        key = f"{prefix}{one.name}"
        if "kind" in one.metadata:
            yield Declared(key, one.default, one.metadata["kind"], one.metadata["meaning"])
        elif is_dataclass(one.default) and not isinstance(one.default, SupervisorSettings):
            yield from declared(type(one.default), f"{key}.")
