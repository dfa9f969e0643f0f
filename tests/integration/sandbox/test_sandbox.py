"""The sandbox as the runtime uses it, against real worker processes."""

from collections.abc import Callable

import anyio
import pytest

from chimera.errors import BadGenomeError, BadModuleError, DeadlineError, TooLargeError, UnavailableError
from chimera.sandbox import GuestFailure, GuestResult, GuestSpec, Sandbox
from chimera.sandbox.abi import pack_configure

pytestmark = pytest.mark.anyio
Binary = Callable[[str], bytes]
Spec = Callable[..., GuestSpec]


async def run_one(sandbox: Sandbox, spec: GuestSpec, payload: bytes = b"hi", task: str = "predict"):
    """Load, run one payload, unload."""
    guest = await sandbox.load(spec)
    try:
        return (await guest.run(task, [payload]))[0]
    finally:
        await guest.close()


async def check(sandbox: Sandbox, guest_binary: Binary, name: str, grants: tuple[str, ...] = ()) -> str:
    """Check a guest; its digest."""
    return (await sandbox.check(guest_binary(name), grants)).digest


@pytest.mark.parametrize("placement", ["worker", "inline"])
async def test_echo(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec, placement: str):
    """Bytes of any size come back unchanged, in order, with what they cost, in both placements."""
    spec = make_spec("echo", await check(sandbox, guest_binary, "echo"), placement=placement)
    guest = await sandbox.load(spec)
    payloads = [b"", b"a", b"b" * 5000, bytes(range(256)) * 100]
    outcomes = await guest.run("predict", payloads)
    assert [o.output for o in outcomes if isinstance(o, GuestResult)] == payloads
    assert all(o.run_s > 0 and o.cpu_s > 0 and o.memory_bytes == 131_072 for o in outcomes)
    await guest.close()


async def test_module_info(sandbox: Sandbox, guest_binary: Binary):
    """A check tells what the module is; the second one takes it from the cache."""
    first = await sandbox.check(guest_binary("genome"))
    assert (first.tasks, first.has_configure, first.imports) == (("predict",), True, ())
    assert first.size == len(guest_binary("genome"))
    assert await sandbox.check(guest_binary("genome")) == first


async def test_three_kinds_of_failure_are_kept_apart(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """A refusal, a trap and a broken rule are three different answers."""
    kinds: dict[str, tuple[str, str]] = {}
    for name in ("error", "trap", "divide", "lie"):
        outcome = await run_one(sandbox, make_spec(name, await check(sandbox, guest_binary, name)))
        assert isinstance(outcome, GuestFailure)
        kinds[name] = (outcome.kind, outcome.detail)
    assert kinds["error"] == ("agent-error", "no thanks")
    assert kinds["trap"][0] == "agent-trap"
    assert "unreachable" in kinds["trap"][1]
    assert kinds["divide"][0] == "agent-trap"
    assert kinds["lie"] == ("agent-contract", "the answer lies outside the guest's memory")


async def test_one_failure_does_not_stop_the_batch(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """Each payload of a batch has its own outcome."""
    guest = await sandbox.load(make_spec("trap", await check(sandbox, guest_binary, "trap"), reuse=5))
    outcomes = await guest.run("predict", [b"x"] * 4)
    assert [type(o).__name__ for o in outcomes] == ["GuestFailure"] * 4
    await guest.close()


async def test_genome_reaches_the_guest(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """The genes and the opaque bytes arrive in chimera_configure as the ABI says, in every instance."""
    digest = await check(sandbox, guest_binary, "genome")
    genome, config = (0.25, -1e300, 3.0), b"\x00opaque"
    for reuse in (1, 3):
        spec = make_spec("genome", digest, genome=genome, config=config, reuse=reuse)
        guest = await sandbox.load(spec)
        outcomes = await guest.run("predict", [b"?"] * 4)
        assert [o.output for o in outcomes if isinstance(o, GuestResult)] == [pack_configure(genome, config)] * 4
        await guest.close()


async def test_a_refused_genome_fails_the_load(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """chimera_configure's own message becomes the detail; a genome for a module without it is refused too."""
    with pytest.raises(BadGenomeError, match="gene 0 is wrong"):
        await sandbox.load(make_spec("picky", await check(sandbox, guest_binary, "picky"), genome=(1.0,)))
    with pytest.raises(BadGenomeError, match="takes no genome"):
        await sandbox.load(make_spec("echo", await check(sandbox, guest_binary, "echo"), genome=(1.0,)))
    assert sandbox.statistics().loaded == 0


@pytest.mark.parametrize("placement", ["worker", "inline"])
async def test_instances_are_fresh_or_reused_as_asked(
    sandbox: Sandbox, guest_binary: Binary, make_spec: Spec, placement: str
):
    """reuse=1 leaves no trace of the task before in memory or globals; reuse=3 keeps an instance for three tasks."""
    digest = await check(sandbox, guest_binary, "counter")
    seen: dict[int, list[bytes]] = {}
    for reuse in (1, 3):
        guest = await sandbox.load(make_spec("counter", digest, reuse=reuse, placement=placement))
        seen[reuse] = [o.output for o in await guest.run("predict", [b""] * 5) if isinstance(o, GuestResult)]
        await guest.close()
    assert seen == {1: [b"\1\1"] * 5, 3: [b"\1\1", b"\2\2", b"\3\3", b"\1\1", b"\2\2"]}


async def test_initialize_is_called(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """_initialize runs before the first task."""
    outcome = await run_one(sandbox, make_spec("init", await check(sandbox, guest_binary, "init")))
    assert isinstance(outcome, GuestResult)
    assert outcome.output == b"es"


async def test_log_is_capped(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """Lines beyond the caps in lines and in bytes are dropped and counted."""
    digest = await check(sandbox, guest_binary, "log")
    by_lines = await run_one(sandbox, make_spec("log", digest, log_lines=7))
    by_bytes = await run_one(sandbox, make_spec("log", digest, log_bytes=9))
    assert isinstance(by_lines, GuestResult)
    assert isinstance(by_bytes, GuestResult)
    assert (by_lines.log, by_lines.log_dropped) == (("hi",) * 7, 993)
    assert (by_bytes.log, by_bytes.log_dropped) == (("hi",) * 4, 996)


async def test_emit_needs_a_grant_and_a_fitting_subject(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """Without the grant the module is refused; with it only subjects that match get into the outbox."""
    with pytest.raises(BadModuleError, match="emit, which is not granted"):
        await sandbox.check(guest_binary("emit"))
    digest = await check(sandbox, guest_binary, "emit", ("emit:lab.*.one",))
    with pytest.raises(BadModuleError, match="not granted"):
        await sandbox.load(make_spec("emit", digest))
    outcome = await run_one(sandbox, make_spec("emit", digest, grants=("emit:lab.*.one",)), b"body")
    assert isinstance(outcome, GuestResult)
    assert outcome.output == b"\0\1"
    assert outcome.outbox == (("lab.red.one", b"body"),)


async def test_deterministic_guests_get_equal_chance(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """Equal payloads draw equal numbers at a standing clock; a live guest draws fresh ones and sees the time."""
    grants = ("random", "clock")
    digest = await check(sandbox, guest_binary, "chance", grants)
    still = await sandbox.load(make_spec("chance", digest, grants=grants))
    a, b, c = [o.output for o in await still.run("predict", [b"1", b"1", b"2"]) if isinstance(o, GuestResult)]
    assert a == b
    assert a != c
    assert a[16:] == bytes(8)
    live = await sandbox.load(make_spec("chance", digest, grants=grants, deterministic=False))
    d, e = [o.output for o in await live.run("predict", [b"1", b"1"]) if isinstance(o, GuestResult)]
    assert d[:16] != e[:16]
    assert int.from_bytes(d[16:], "little") > 10**18
    await still.close()
    await live.close()


async def test_wasi_is_a_shim_without_authority(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """With the wasi grant output goes to the log, opening a file is refused, and proc_exit ends the task only."""
    with pytest.raises(BadModuleError, match="not granted"):
        await sandbox.check(guest_binary("wasi"))
    spec = make_spec("wasi", await check(sandbox, guest_binary, "wasi", ("wasi",)), grants=("wasi",))
    outcome = await run_one(sandbox, spec)
    assert isinstance(outcome, GuestResult)
    assert (outcome.output, outcome.log) == (b"\x34", ("hello",))
    ended = await run_one(sandbox, spec, task="quit")
    assert isinstance(ended, GuestFailure)
    assert (ended.kind, ended.detail) == ("agent-trap", "the guest exited with code 3")


async def test_equal_specs_share_a_guest(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """The guest stays loaded until the last of its handles is closed; a closed handle runs nothing."""
    spec = make_spec("echo", await check(sandbox, guest_binary, "echo"))
    one, two = await sandbox.load(spec), await sandbox.load(spec)
    assert sandbox.statistics().loaded == 1
    await one.close()
    assert len(await two.run("predict", [b"x"])) == 1
    with pytest.raises(UnavailableError):
        await one.run("predict", [b"x"])
    await two.close()
    assert sandbox.statistics().loaded == 0


async def test_unknown_task_and_oversized_payload(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """Both are refused before a worker hears of them, and name what would be right."""
    guest = await sandbox.load(make_spec("echo", await check(sandbox, guest_binary, "echo")))
    (outcome,) = await guest.run("other", [b""])
    assert isinstance(outcome, GuestFailure)
    assert (outcome.kind, outcome.executed) == ("agent-contract", False)
    assert "it has: predict" in outcome.detail
    with pytest.raises(TooLargeError):
        await guest.run("predict", [b"x" * (16 << 20) + b"x"])
    await guest.close()


async def test_timeout_names_the_stage(sandbox: Sandbox, guest_binary: Binary, make_spec: Spec):
    """A run that waits for a worker ends with stage queued, one that runs with stage running; the worker recovers."""
    spec = make_spec("loop", await check(sandbox, guest_binary, "loop"), cpu_ms=400.0)
    guest = await sandbox.load(spec)
    stages: list[str] = []

    async def attempt(timeout_s: float) -> None:
        with pytest.raises(DeadlineError) as caught:
            await guest.run("predict", [b"", b""], timeout_s=timeout_s)
        stages.append(str((caught.value.data or {})["stage"]))

    async with anyio.create_task_group() as group:
        group.start_soon(attempt, 0.1)
        await anyio.wait_all_tasks_blocked()
        assert not guest.ready()  # the bulkhead: one of two workers, and it is taken
        group.start_soon(attempt, 0.05)
    assert sorted(stages) == ["queued", "running"]
    with anyio.fail_after(20):
        await guest.wait_ready()
        (outcome,) = await guest.run("predict", [b""])
    assert isinstance(outcome, GuestFailure)
    assert outcome.limit == "cpu"
    await guest.close()
