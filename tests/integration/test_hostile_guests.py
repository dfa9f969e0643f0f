"""Each hostile guest really does what it is for, seen through wasmtime's public API: sandbox tests may rely on it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import wasmtime

from edge.guests import hostile_guests, shipped_guest

MEMORY_LIMIT = 16 << 20
ERROR_FLAG = 1 << 31


class Bench:
    """A store with a memory limit whose running guest is interrupted after a quarter of a second."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(self.engine)
        self.store.set_limits(memory_size=MEMORY_LIMIT)
        self.store.set_epoch_deadline(1)
        self.alarm = threading.Timer(0.25, self.engine.increment_epoch)

    def start(self, name: str) -> Any:
        """The exports of a fresh instance of a hostile guest."""
        module = wasmtime.Module(self.engine, shipped_guest(name).module)
        return wasmtime.Instance(self.store, module, []).exports(self.store)

    def predict(self, name: str, length: int = 16) -> tuple[int, int, int]:
        """(address, length, memory size) that a hostile guest answers."""
        exports = self.start(name)
        packed = exports["predict"](self.store, 0, length)
        assert not packed & ERROR_FLAG
        return packed >> 32 & 0xFFFFFFFF, packed & (ERROR_FLAG - 1), exports["memory"].data_len(self.store)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench whose alarm is taken back in the end."""
    bench = Bench()
    yield bench
    bench.alarm.cancel()
    if bench.alarm.is_alive():
        bench.alarm.join()


def test_infinite_loop_runs_until_interrupted(bench: Bench):
    """It ends by the alarm and by nothing else."""
    bench.alarm.start()
    with pytest.raises(wasmtime.Trap) as caught:
        bench.predict("infinite_loop")
    assert caught.value.trap_code is wasmtime.TrapCode.INTERRUPT


def test_slow_start_runs_until_interrupted(bench: Bench):
    """Its ``_initialize`` ends by the alarm and by nothing else; its task would answer."""
    exports = bench.start("slow_start")
    bench.alarm.start()
    with pytest.raises(wasmtime.Trap) as caught:
        exports["_initialize"](bench.store)
    assert caught.value.trap_code is wasmtime.TrapCode.INTERRUPT


def test_memory_bomb_meets_the_memory_limit(bench: Bench):
    """It takes all but the last block below the limit, then traps."""
    exports = bench.start("memory_bomb")
    with pytest.raises(wasmtime.Trap) as caught:
        exports["predict"](bench.store, 0, 0)
    assert caught.value.trap_code is wasmtime.TrapCode.UNREACHABLE
    assert MEMORY_LIMIT - (1 << 20) < exports["memory"].data_len(bench.store) <= MEMORY_LIMIT


def test_huge_output_is_really_there(bench: Bench):
    """8 MiB lie inside its memory, far over what its manifest asks for."""
    start, length, memory = bench.predict("huge_output")
    assert length == 8 << 20
    assert start + length <= memory
    assert length > shipped_guest("huge_output").manifest.limits.output_bytes


def test_trap_traps(bench: Bench):
    """It executes ``unreachable``."""
    with pytest.raises(wasmtime.Trap) as caught:
        bench.predict("trap")
    assert caught.value.trap_code is wasmtime.TrapCode.UNREACHABLE


def test_stack_overflow_exhausts_the_stack(bench: Bench):
    """It ends in the trap for an exhausted call stack."""
    with pytest.raises(wasmtime.Trap) as caught:
        bench.predict("stack_overflow")
    assert caught.value.trap_code is wasmtime.TrapCode.STACK_OVERFLOW


@pytest.mark.parametrize("length", [16, 17])
def test_lying_pointer_points_outside_memory(bench: Bench, length: int):
    """With an even length its answer starts outside, with an odd one it ends outside."""
    start, size, memory = bench.predict("lying_pointer", length)
    assert start + size > memory
    assert (start < memory) == bool(length % 2)


def test_lying_alloc_points_outside_memory(bench: Bench):
    """The buffer it hands out starts behind its memory."""
    exports = bench.start("lying_alloc")
    assert exports["chimera_alloc"](bench.store, 64) & 0xFFFFFFFF > exports["memory"].data_len(bench.store)


def test_missing_export_has_no_allocator(bench: Bench):
    """It exports a task and memory only."""
    module = wasmtime.Module(bench.engine, shipped_guest("missing_export").module)
    assert {export.name for export in module.exports} == {"memory", "predict"}


def test_only_unknown_import_imports(bench: Bench):
    """It asks for ``env.system``; no other guest asks for anything."""
    for guest in [*hostile_guests(), shipped_guest("sentiment"), shipped_guest("echo")]:
        imports = [(item.module, item.name) for item in wasmtime.Module(bench.engine, guest.module).imports]
        assert imports == ([("env", "system")] if guest.name == "unknown_import" else [])
