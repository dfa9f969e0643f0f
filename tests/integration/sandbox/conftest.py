"""Guests written as text and compiled when needed, and a sandbox shared by the tests of a module."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import wasmtime

from chimera.clock import SystemClock
from chimera.sandbox import GuestSpec, Sandbox, SandboxSettings, create_sandbox
from subjects.agent import Limits

ALLOC = """
  (memory (export "memory") 2)
  (global $top (mut i32) (i32.const 8192))
  (func (export "chimera_alloc") (param $n i32) (result i32)
    (global.set $top (i32.add (global.get $top) (local.get $n)))
    (i32.sub (global.get $top) (local.get $n)))
  (func $pack (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
"""
FOREVER = "(loop $again (br $again))"
GO = "(param $p i32) (param $n i32) (result i64)"
BODIES = {
    "echo": f'(func (export "predict") {GO} (call $pack (local.get $p) (local.get $n)))',
    "error": f"""(data (i32.const 16) "no thanks")
        (func (export "predict") {GO} (i64.or (i64.const 0x80000000) (call $pack (i32.const 16) (i32.const 9))))""",
    "trap": f'(func (export "predict") {GO} unreachable)',
    "divide": f"""(func (export "predict") {GO}
        (i64.extend_i32_u (i32.div_u (i32.const 1) (i32.sub (local.get $n) (local.get $n)))))""",
    "loop": f'(func (export "predict") {GO} {FOREVER} unreachable)',
    "bomb": f"""(func (export "predict") {GO}
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)""",
    "flood": f'(func (export "predict") {GO} (call $pack (i32.const 0) (i32.const 100000)))',
    "lie": f'(func (export "predict") {GO} (call $pack (i32.const 0x7fffff00) (i32.const 512)))',
    "liar_alloc": f'(func (export "predict") {GO} (call $pack (local.get $p) (local.get $n)))',
    "stack": f"""(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
        (func (export "predict") {GO} (drop (call $deep (i32.const 0))) unreachable)""",
    "counter": f"""(global $count (mut i32) (i32.const 0))
        (func (export "predict") {GO}
          (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
          (global.set $count (i32.add (global.get $count) (i32.const 1)))
          (i32.store8 (i32.const 32) (i32.load (i32.const 16)))
          (i32.store8 (i32.const 33) (global.get $count))
          (call $pack (i32.const 32) (i32.const 2)))""",
    "genome": f"""(func (export "chimera_configure") {GO}
          (memory.copy (i32.const 64) (local.get $p) (local.get $n))
          (i32.store (i32.const 16) (local.get $n)) (i64.const 0))
        (func (export "predict") {GO} (call $pack (i32.const 64) (i32.load (i32.const 16))))""",
    "picky": f"""(data (i32.const 16) "gene 0 is wrong")
        (func (export "chimera_configure") {GO}
          (i64.or (i64.const 0x80000000) (call $pack (i32.const 16) (i32.const 15))))
        (func (export "predict") {GO} (i64.const 0))""",
    "slow_init": f"""(func (export "_initialize") {FOREVER})
        (func (export "predict") {GO} (i64.const 0))""",
    "slow_start": f"""(func $main {FOREVER}) (start $main)
        (func (export "predict") {GO} (i64.const 0))""",
    "init": f"""(data (i32.const 16) "no")
        (func (export "_initialize") (i32.store16 (i32.const 16) (i32.const 0x7365)))
        (func (export "predict") {GO} (call $pack (i32.const 16) (i32.const 2)))""",
}
WITH_IMPORTS = {
    "log": f"""(import "chimera_v1" "log" (func $log (param i32 i32 i32)))
        {ALLOC} (func (export "predict") {GO} (local $i i32)
          (loop $again
            (call $log (i32.const 1) (local.get $p) (local.get $n))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
          (call $pack (local.get $p) (local.get $n)))""",
    "log_outside": f"""(import "chimera_v1" "log" (func $log (param i32 i32 i32)))
        {ALLOC} (func (export "predict") {GO}
          (call $log (i32.const 1) (i32.const 0x7fffffff) (i32.const 9)) {FOREVER} unreachable)""",
    "emit": f"""(import "chimera_v1" "emit" (func $emit (param i32 i32 i32 i32) (result i32)))
        {ALLOC} (data (i32.const 16) "lab.red.oneother.two")
        (func (export "predict") {GO}
          (i32.store8 (i32.const 64) (call $emit (i32.const 16) (i32.const 11) (local.get $p) (local.get $n)))
          (i32.store8 (i32.const 65) (call $emit (i32.const 27) (i32.const 9) (local.get $p) (local.get $n)))
          (call $pack (i32.const 64) (i32.const 2)))""",
    "chance": f"""(import "chimera_v1" "random" (func $random (param i32 i32)))
        (import "chimera_v1" "now" (func $now (result i64)))
        {ALLOC} (func (export "predict") {GO}
          (call $random (i32.const 64) (i32.const 16)) (i64.store (i32.const 80) (call $now))
          (call $pack (i32.const 64) (i32.const 24)))""",
    "wasi": f"""(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        {ALLOC} (data (i32.const 16) "hello\\n")
        (func (export "predict") {GO}
          (i32.store (i32.const 32) (i32.const 16)) (i32.store (i32.const 36) (i32.const 6))
          (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40)))
          (i32.store8 (i32.const 64) (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
          (call $pack (i32.const 64) (i32.const 1)))
        (func (export "quit") {GO} (call $exit (i32.const 3)) unreachable)""",
    "unknown": f'(import "env" "x" (func)) {ALLOC} {BODIES["echo"]}',
    "mistyped_log": f'(import "chimera_v1" "log" (func (param i64))) {ALLOC} {BODIES["echo"]}',
    "imported_memory": f"""(import "env" "m" (memory 1)) (export "memory" (memory 0))
        (func (export "predict") {GO} (i64.const 0))""",
    "no_memory": f"""(func (export "chimera_alloc") (param i32) (result i32) (i32.const 0))
        (func (export "predict") {GO} (i64.const 0))""",
    "no_alloc": f'(memory (export "memory") 1) (func (export "predict") {GO} (i64.const 0))',
    "no_task": ALLOC + '(func (export "predict") (param i32) (result i32) (i32.const 0))',
    "mistyped": ALLOC + BODIES["echo"] + '(func (export "chimera_configure") (param i32))',
    "bad_alloc": f"""(memory (export "memory") 1)
        (func (export "chimera_alloc") (param i32) (result i32) (i32.const -4096))
        (func (export "predict") {GO} (i64.const 0))""",
    "no_room": f"""(memory (export "memory") 1)
        (func (export "chimera_alloc") (param i32) (result i32) (i32.const 0))
        (func (export "predict") {GO} (i64.const 0))""",
    "memory64": '(memory (export "memory") i64 1)',
}


def compile_guest(name: str) -> bytes:
    """The named guest as a binary module."""
    text = WITH_IMPORTS[name] if name in WITH_IMPORTS else ALLOC + BODIES[name]
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The loop lives as long as the module's sandbox."""
    return "asyncio", {}


@pytest.fixture(scope="session")
def guest_binary() -> Callable[[str], bytes]:
    """Compiles a guest by name."""
    return compile_guest


@pytest.fixture(scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """Two workers, and inline placement allowed."""
    folder: Path = tmp_path_factory.mktemp("modules")
    async with create_sandbox(SandboxSettings(folder, workers=2, allow_inline=True), SystemClock()) as made:
        yield made


@pytest.fixture
def make_spec() -> Callable[..., GuestSpec]:
    """A spec with quick limits; keyword arguments beyond a spec's own become limits."""

    def make(agent: str, digest: str, **fields: object) -> GuestSpec:
        names = set(Limits.__struct_fields__)
        limits = {"cpu_ms": 200.0, "wall_ms": 20_000.0, **{k: v for k, v in fields.items() if k in names}}
        rest = {k: v for k, v in fields.items() if k not in names}
        return GuestSpec(agent, digest, limits=Limits(**limits), **rest)  # pyright: ignore[reportArgumentType] - test data

    return make
