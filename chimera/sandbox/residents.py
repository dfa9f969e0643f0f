"""The guests that live in one process: loaded, configured, and run one task at a time within their limits."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .abi import HOST_MODULE, WASI_MODULE, emit_patterns, pack_configure
from .contract import GuestFailure, GuestResult, GuestSpec
from .host import Turn
from .instance import BrokenError, Instance, OverLimitError, RefusedError
from .layer import INSTANTIATE, INTERRUPT, STACK, GuestError, Machine, Program, TrappedError, open_machine
from .limits import Watchdog

MAX_PARKED = 24
LoadStatus = Literal["", "module", "genome", "corrupt"]
_DRAWS = {f"{HOST_MODULE}.random", f"{WASI_MODULE}.random_get"}


@dataclass(frozen=True, slots=True)
class Residence:
    """What a process needs to load a guest.

    Attributes:
        path: The compiled module.
        sha256: What that file must hash to: its bytes are machine code, so nothing else may be run.
        memory_bytes: The limit after the operator's cap.
    """

    number: int
    path: str
    sha256: str
    spec: GuestSpec
    imports: tuple[str, ...]
    has_configure: bool
    memory_bytes: int


@dataclass(slots=True)
class _Resident:
    order: Residence
    machine: Machine
    program: Program
    configure: bytes | None
    patterns: tuple[str, ...]
    needs_seed: bool
    cpu_s: float
    wall_s: float
    instances: int = field(default=0)

    def turn(self, task: str, payload: bytes) -> Turn:
        spec = self.order.spec
        seed = b""
        if self.needs_seed:
            seed = hashlib.sha256(f"{spec.agent}\n{task}\n".encode() + payload).digest()
        live = not spec.deterministic
        return Turn(
            seed=seed, patterns=self.patterns, log_bytes=spec.limits.log_bytes, log_lines=spec.limits.log_lines,
            real_clock=live and "clock" in spec.grants, real_random=live and "random" in spec.grants,
        )  # fmt: skip


class Residents:
    """The table of loaded guests of this process and thread."""

    def __init__(self, *, api: str, pooling: bool, memory_bytes: int) -> None:
        self._api, self._pooling, self._memory_bytes = api, pooling, memory_bytes
        self._machines: dict[bool, Machine] = {}
        self._programs: dict[str, Program] = {}
        self._residents: dict[int, _Resident] = {}
        self._parked: OrderedDict[int, Instance] = OrderedDict()
        self._ended: list[Instance] = []
        self._watchdog = Watchdog()
        self.machine(deterministic=True)

    def machine(self, *, deterministic: bool) -> Machine:
        """The engine of a profile, made when first needed."""
        machine = self._machines.get(deterministic)
        if machine is None:
            machine = self._machines[deterministic] = open_machine(
                self._api, deterministic=deterministic, pooling=self._pooling, memory_bytes=self._memory_bytes
            )
        return machine

    def load(self, order: Residence) -> tuple[LoadStatus, str]:
        """Map, start and configure a guest: an empty status, or who is to blame and why."""
        try:
            resident = self._prepare(order)
        except OSError as error:
            return "corrupt", str(error)
        failure = self._rehearse(resident)
        if failure is None:
            self._residents[order.number] = resident
            return "", ""
        self._forget_program(order.path)
        if failure.kind == "agent-error":
            return "genome", failure.detail
        return "module", f"it cannot be started: {failure.detail}"

    def unload(self, number: int) -> None:
        """Forget a guest and its instance."""
        resident = self._residents.pop(number, None)
        instance = self._parked.pop(number, None)
        if instance is not None:
            instance.close()
        if resident is not None:
            self._forget_program(resident.order.path)

    def run(self, number: int, task: str, payload: bytes) -> GuestResult | GuestFailure:
        """Run one task within its limits. It never raises for what a guest does."""
        resident = self._residents.get(number)
        if resident is None:
            return GuestFailure("lost", "this worker does not have the guest loaded", executed=False)
        return self._run(resident, task, payload)

    def instances_started(self, number: int) -> int:
        """Instances started for a guest so far."""
        resident = self._residents.get(number)
        return resident.instances if resident else 0

    def tidy(self) -> None:
        """Free instances whose tasks ended. Called when nobody waits for an answer."""
        while self._ended:
            self._ended.pop().close()

    def close(self) -> None:
        """Unload everything."""
        for number in list(self._residents):
            self.unload(number)
        self.tidy()
        self._watchdog.close()

    def _prepare(self, order: Residence) -> _Resident:
        spec = order.spec
        machine = self.machine(deterministic=spec.deterministic)
        program = self._programs.get(order.path)
        if program is None:
            _verify(order)
            program = self._programs[order.path] = machine.load(Path(order.path))
        limits = spec.limits
        return _Resident(
            order=order, machine=machine, program=program, patterns=emit_patterns(spec.grants),
            configure=pack_configure(spec.genome, spec.config) if order.has_configure else None,
            needs_seed=not _DRAWS.isdisjoint(order.imports),
            cpu_s=limits.cpu_ms / 1e3, wall_s=limits.wall_ms / 1e3,
        )  # fmt: skip

    def _rehearse(self, resident: _Resident) -> GuestFailure | None:
        """Start and configure once, so that a release that cannot start is refused before it gets traffic."""
        outcome = self._run(resident, "", b"")
        self.tidy()
        return outcome if isinstance(outcome, GuestFailure) else None

    def _run(self, resident: _Resident, task: str, payload: bytes) -> GuestResult | GuestFailure:
        turn = resident.machine.slot.turn = resident.turn(task, payload)
        error: GuestError | None = None
        instance: Instance | None = None
        output = b""
        started, cpu_started = time.perf_counter(), time.thread_time()
        self._watchdog.arm(resident.machine.interrupt, resident.cpu_s, resident.wall_s)
        try:
            instance, ready = self._take(resident)
            if not ready:
                _start(resident, instance)
            if task:
                output = instance.run(task, payload, resident.order.spec.limits.output_bytes)
        except GuestError as problem:
            error = problem
        passed = self._watchdog.disarm()
        cpu_s, run_s = time.thread_time() - cpu_started, time.perf_counter() - started
        memory = instance.memory_bytes() if instance else 0
        if error is None and not turn.fault:
            self._keep(resident, instance, task)
            return GuestResult(output, run_s, cpu_s, memory, tuple(turn.log), turn.log_dropped, tuple(turn.outbox))
        kind, limit, detail = _classify(error, turn, passed, resident, instance)
        if kind == "agent-error":
            self._keep(resident, instance, task)
        elif instance is not None:
            self._ended.append(instance)
        return GuestFailure(kind, detail, limit, run_s, cpu_s, memory, log=tuple(turn.log))

    def _take(self, resident: _Resident) -> tuple[Instance, bool]:
        """An instance, and whether it was started and configured before."""
        instance = self._parked.pop(resident.order.number, None)
        if instance is not None:
            instance.renew()
            return instance, True
        self.tidy()
        instance = Instance(resident.program, resident.order.memory_bytes)
        resident.instances += 1
        return instance, False

    def _keep(self, resident: _Resident, instance: Instance | None, task: str) -> None:
        """Park an instance that may serve again, else end it."""
        if instance is None:
            return
        instance.served += 1 if task else 0
        if resident.order.spec.reuse <= 1 or instance.served >= resident.order.spec.reuse:
            self._ended.append(instance)
            return
        self._parked[resident.order.number] = instance
        while len(self._parked) > MAX_PARKED:
            self._parked.popitem(last=False)[1].close()

    def _forget_program(self, path: str) -> None:
        if all(resident.order.path != path for resident in self._residents.values()):
            self._programs.pop(path, None)


def _start(resident: _Resident, instance: Instance) -> None:
    if resident.program.has_initialize:
        instance.initialize()
    if resident.configure is not None:
        instance.run("chimera_configure", resident.configure, resident.order.spec.limits.output_bytes)


def _verify(order: Residence) -> None:
    with Path(order.path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != order.sha256:
        raise OSError("the compiled module is not the one that was stored")


_Kind = Literal["agent-error", "agent-trap", "agent-limit", "agent-contract"]


def _classify(
    error: GuestError | None, turn: Turn, passed: str, resident: _Resident, instance: Instance | None
) -> tuple[_Kind, str, str]:
    """Kind, limit and sentence of a failed task."""
    limits = resident.order.spec.limits
    if passed:
        allowed = limits.cpu_ms if passed == "cpu" else limits.wall_ms
        return "agent-limit", passed, f"it ran over its {passed} limit of {allowed:g} ms"
    if turn.fault:
        return ("agent-trap" if turn.fault_kind == "exit" else "agent-contract"), "", turn.fault
    if isinstance(error, RefusedError):
        return "agent-error", "", error.detail
    if isinstance(error, BrokenError):
        return "agent-contract", "", error.detail
    if isinstance(error, OverLimitError):
        return "agent-limit", error.limit, error.detail
    return _classify_trap(error, resident, instance)


def _classify_trap(error: GuestError | None, resident: _Resident, instance: Instance | None) -> tuple[_Kind, str, str]:
    code = error.code if isinstance(error, TrappedError) else ""
    detail = error.detail if error else "the guest failed"
    if code == STACK:
        return "agent-limit", "stack", "it ran out of call stack"
    allowed = resident.order.memory_bytes
    if code == INSTANTIATE and "memory" in detail:
        return "agent-limit", "memory", f"its memory does not fit the limit of {allowed} bytes: {detail}"
    if code not in {INTERRUPT, INSTANTIATE} and instance is not None and _memory_exhausted(instance, allowed):
        return "agent-limit", "memory", f"it used up its memory limit of {allowed} bytes, then trapped: {detail}"
    return "agent-trap", "", detail


def _memory_exhausted(instance: Instance, allowed: int) -> bool:
    """Whether a growth was most likely refused.

    The engine tells nobody that it refused one. An instance that grew past half of its limit and then trapped is taken
    for one that could not grow further: allocators grow by doubling or in smaller steps.
    """
    now = instance.memory_bytes()
    return now > instance.first_memory_bytes and 2 * now >= allowed
