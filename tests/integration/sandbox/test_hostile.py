"""Guests that misbehave: each ends in its own clear answer, within its limit, and disturbs nobody."""

from collections.abc import Callable

import anyio
import pytest
import wasmtime

from chimera.errors import BadModuleError
from chimera.sandbox import GuestFailure, GuestResult, GuestSpec, Sandbox

pytestmark = pytest.mark.anyio
Binary = Callable[[str], bytes]
Spec = Callable[..., GuestSpec]


async def fail(sandbox: Sandbox, spec: GuestSpec, payload: bytes = b"hi") -> GuestFailure:
    """Load, run one payload that must fail, unload."""
    guest = await sandbox.load(spec)
    (outcome,) = await guest.run("predict", [payload])
    await guest.close()
    assert isinstance(outcome, GuestFailure)
    return outcome


@pytest.mark.parametrize("placement", ["worker", "inline"])
async def test_infinite_loop_ends_at_its_cpu_limit(
    sandbox: Sandbox, guest_binary: Binary, make_spec: Spec, placement: str
):
    """The loop is stopped after its CPU time and is told so."""
    info = await sandbox.check(guest_binary("loop"))
    outcome = await fail(sandbox, make_spec("loop", info.digest, cpu_ms=50.0, placement=placement))
    assert (outcome.kind, outcome.limit) == ("agent-limit", "cpu")
    assert 0.05 <= outcome.cpu_s < 2.0


async def test_wall_limit_is_apart_from_cpu(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """A guest that passes its wall time first is blamed for that."""
    info = await sandbox.check(guest_binary("loop"))
    outcome = await fail(sandbox, make_spec("loop", info.digest, cpu_ms=20_000.0, wall_ms=60.0))
    assert (outcome.kind, outcome.limit) == ("agent-limit", "wall")
    assert outcome.cpu_s < 20.0


async def test_others_go_on_while_one_loops(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """One agent's loops, more of them than there are workers, leave a worker for another agent's tasks."""
    looping = await sandbox.load(make_spec("loop", (await sandbox.check(guest_binary("loop"))).digest, cpu_ms=1500.0))
    echo = await sandbox.load(make_spec("echo", (await sandbox.check(guest_binary("echo"))).digest))
    ended: list[str] = []

    async def loop_once() -> None:
        await looping.run("predict", [b""])
        ended.append("loop")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(loop_once)
        await anyio.wait_all_tasks_blocked()
        assert sandbox.statistics().waiting == 2
        for _ in range(20):
            (outcome,) = await echo.run("predict", [b"still here"])
            assert isinstance(outcome, GuestResult)
        ended.append("echo")
        group.cancel_scope.cancel()
    assert ended[0] == "echo"
    with anyio.fail_after(20):
        await looping.wait_ready()
    await looping.close()
    await echo.close()


@pytest.mark.parametrize(
    ("name", "limits", "expected"),
    [
        ("bomb", {"memory_bytes": 4 << 20}, ("agent-limit", "memory")),
        ("flood", {"output_bytes": 99_999}, ("agent-limit", "output")),
        ("stack", {}, ("agent-limit", "stack")),
        ("bad_alloc", {}, ("agent-contract", "")),
        ("no_room", {}, ("agent-limit", "memory")),
        ("lie", {}, ("agent-contract", "")),
        ("log_outside", {}, ("agent-contract", "")),
    ],
)
async def test_each_limit_has_its_name(
    *,
    sandbox: Sandbox,
    guest_binary: Binary,
    make_spec: Spec,
    name: str,
    limits: dict[str, int],
    expected: tuple[str, str],
):
    """What a guest did wrong is in the kind and the limit of its failure."""
    info = await sandbox.check(guest_binary(name))
    outcome = await fail(sandbox, make_spec(name, info.digest, cpu_ms=2000.0, **limits))
    assert (outcome.kind, outcome.limit) == expected
    assert outcome.memory_bytes <= limits.get("memory_bytes", 16 << 20)


async def test_the_operators_memory_cap_wins(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """A module whose first memory does not fit its limit is refused when it is loaded."""
    info = await sandbox.check(guest_binary("echo"))
    with pytest.raises(BadModuleError, match="memory"):
        await sandbox.load(make_spec("echo", info.digest, memory_bytes=65_536))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unknown", "env.x, which does not exist"),
        ("mistyped_log", "chimera_v1.log as"),
        ("imported_memory", "env.m, which is not a function|must export chimera_alloc"),
        ("no_memory", "must export its memory"),
        ("no_alloc", "must export chimera_alloc"),
        ("no_task", r"exports no task.*predict \(i32\) -> \(i32\)"),
        ("mistyped", "exports chimera_configure as"),
        ("memory64", "not valid"),
    ],
)
async def test_bad_modules_are_refused_by_the_check(sandbox: Sandbox, guest_binary: Binary, name: str, says: str):
    """The reason names the import or export that is wrong."""
    with pytest.raises(BadModuleError, match=says):
        await sandbox.check(guest_binary(name))


async def test_what_is_no_module_is_refused(sandbox: Sandbox, guest_binary: Binary):
    """Text, which the engine itself would compile, corrupted bytes, and what is too big."""
    with pytest.raises(BadModuleError, match="magic"):
        await sandbox.check(b"(module)")
    whole = guest_binary("echo")
    with pytest.raises(BadModuleError, match="not valid"):
        await sandbox.check(whole[:40] + bytes([whole[40] ^ 0xFF]) + whole[41:-7])
    with pytest.raises(BadModuleError, match="at most"):
        await sandbox.check(whole + bytes(8 << 20))
    with pytest.raises(BadModuleError, match="never checked"):
        await sandbox.load(GuestSpec("x", "0" * 64))


@pytest.mark.parametrize("name", ["slow_init", "slow_start"])
async def test_slow_start_is_refused_at_load(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec, name: str):
    """A start that never ends meets the CPU limit, the load fails as a whole and nothing stays behind."""
    info = await sandbox.check(guest_binary(name))
    with pytest.raises(BadModuleError, match="cpu limit"):
        await sandbox.load(make_spec(name, info.digest, cpu_ms=50.0))
    assert sandbox.statistics().loaded == 0


@pytest.mark.slow
async def test_compile_bomb_is_bounded(sandbox: Sandbox):
    """A small module that would keep the compiler busy for a minute ends at the compiling child's CPU limit."""
    count = 30_000
    mixes = "".join(
        f"(local.set {k} (i32.add (local.get {k * 7 % count}) (local.get {k * 13 % count})))" for k in range(count)
    )
    text = f"(module (func (result i32) {'(local i32)' * count} (loop {mixes} (br_if 0 (local.get 5))) (local.get 0)))"
    with pytest.raises(BadModuleError, match=r"limit|compiler failed"):
        await sandbox.check(bytes(wasmtime.wat2wasm(text)))
