"""The processes of a system in parts: a whole node, a scheduler, an agent, PostgreSQL. Started, struck, brought back.

Only processes that were started here, or by those, are ever signalled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from chimera.server.roles import RoleName, roles
from tests.chaos.ledger import SOCKET
from tests.chaos.plan import Fault, Victim
from tests.support.postgres import PostgresServer
from tests.support.processes import children_like, is_alive
from tests.support.running import RunningSystem, free_port

ROOT = Path(__file__).resolve().parents[2]
WHOLE, SCHEDULER, AGENT = "whole", "sched", "hands"

Leader = Callable[[], str]


class Member(RunningSystem):
    """One node of the crew; with or without a bridge."""

    def until_it_serves(self, timeout_s: float = 60.0) -> None:
        """Wait until it has said what runs where: then all of it has started."""
        if "bridge" in self.env.get("CHIMERA_NODE__ROLES", ""):
            super().until_it_serves(timeout_s)
        else:
            self.until_it_says(timeout_s)

    def _ready(self) -> bool:
        return True

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None


class Crew:
    """All processes of one run.

    Args:
        folder: Data folders, configuration and what the processes wrote.
        ledger: Path of the ledger's socket.
        postgres: The store of all nodes.
        leader: Name of the node whose scheduler leads now.
    """

    def __init__(self, folder: Path, ledger: Path, postgres: PostgresServer, leader: Leader) -> None:
        self._folder, self._postgres, self._leader = folder, postgres, leader
        self.port, self.http = free_port(), free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        config = folder / "chaos.toml"
        config.write_text(_configuration())
        ports = ["--set", f"nats.port={self.port}", "--set", f"http.ports.scheduler={self.http}"]
        common = {"CHIMERA_STORE": postgres.url(), SOCKET: str(ledger), "PYTHONPATH": str(ROOT)}
        self._common = ["--config", str(config)], common
        self.whole = self._member(WHOLE, "agent,scheduler,bridge", ports)
        guest = ["--set", f"nats.url={self.url}", "--set", "nats.inbox_prefix=_INBOX_runtime"]
        guest += ["--set", f"nats.seed_file={self.whole.data / 'secrets' / 'runtime.nk'}"]
        self.scheduler = self._member(SCHEDULER, "scheduler", guest)
        self.agent = self._member(AGENT, "agent", guest)
        self.members = {WHOLE: self.whole, SCHEDULER: self.scheduler, AGENT: self.agent}
        self.wanted: set[str] = set()
        self.gave_up: list[str] = []

    def start(self) -> None:
        """Start everything; the whole node first, whose server the others use."""
        for name, member in self.members.items():
            self.wanted.add(name)
            member.start()

    def strike(self, fault: Fault) -> str:
        """Do it; says what was done to whom."""
        victim = self._resolve(fault.victim)
        number = signal.SIGKILL if fault.act == "kill" else signal.SIGSTOP
        if victim == "postgres":
            (self._postgres.kill if fault.act == "kill" else self._postgres.pause)()
            return "PostgreSQL"
        if victim in self.members:
            if fault.act == "kill":
                self.wanted.discard(victim)
                self.members[victim].kill()
            else:
                os.kill(self.members[victim].pid, number)
            return victim
        name, pid = self._child(victim, fault.luck)
        os.kill(pid, number)
        self._paused = pid
        return name

    def mend(self, fault: Fault) -> None:
        """Bring back what it struck."""
        victim = self._resolve(fault.victim) if fault.victim != "leader" else ""
        if fault.act == "pause":
            self._resume(fault)
        elif victim == "postgres":
            self._postgres.start()
        elif victim in self.members:
            self.wanted.add(victim)
            self._start(victim)

    def bring_back(self) -> None:
        """Start nodes again that ended by themselves, as an init system would, and remember that they did."""
        for name in sorted(self.wanted):
            if not self.members[name].lives:
                self.gave_up.append(f"{name}: {self.members[name].stderr()[-300:]}")
                self._start(name)

    def _start(self, name: str) -> None:
        try:
            self.members[name].start()
        except AssertionError as error:
            self.gave_up.append(f"{name} did not start: {str(error)[-300:]}")

    def identity(self, role: RoleName) -> tuple[str, str]:
        """The seed of a role of the whole node's server, and the prefix of its replies."""
        seed = self.whole.data / "secrets" / f"{role}.nk"
        return seed.read_text().strip(), roles()[role].inbox_prefix

    def close(self) -> None:
        """End everything."""
        for member in reversed(self.members.values()):
            if member.lives:
                os.kill(member.pid, signal.SIGCONT)
            member.close()

    def _resolve(self, victim: Victim) -> str:
        names = {"scheduler": SCHEDULER, "agent": AGENT, "node": WHOLE}
        if victim == "leader":
            self._led = leader = self._leader()
            return leader if leader in self.members else WHOLE
        return names.get(victim, victim)

    def _resume(self, fault: Fault) -> None:
        if fault.victim == "postgres":
            self._postgres.resume()
        elif fault.victim == "server":
            _signal(self._paused, signal.SIGCONT)
        else:
            name = self._led if fault.victim == "leader" else self._resolve(fault.victim)
            _signal(self.members.get(name, self.whole).pid, signal.SIGCONT)

    def _child(self, victim: str, luck: float) -> tuple[str, int]:
        word = "nats-server" if victim == "server" else "chimera.sandbox.worker"
        hosts = [self.whole] if victim == "server" else [self.whole, self.agent]
        pids = [
            (f"{victim} of {host.data.parent.name}", pid) for host in hosts for pid in children_like(host.pid, word)
        ]
        assert pids, f"no {victim} runs: {[host.story() for host in hosts]}"
        return pids[int(luck * len(pids))]

    def _member(self, name: str, hosted: str, more: list[str]) -> Member:
        options, env = self._common
        names = {"CHIMERA_NODE__NAME": name, "CHIMERA_NODE__ROLES": hosted}
        return Member(self._folder / name, [*options, *more], {**env, **names})


def _signal(pid: int, number: signal.Signals) -> None:
    if is_alive(pid):
        os.kill(pid, number)


def _configuration() -> str:
    """The shipped tree with the agent actor whose successes have an effect, and fast retries of the breaker."""
    shipped = (ROOT / "configs" / "default.toml").read_text()
    tree = shipped[shipped.index("[supervision]") :]
    return tree.replace("actors.agent:Agent", "tests.chaos.worker:EffectiveAgent")
