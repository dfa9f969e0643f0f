"""The fast engine layer and the public one give the same answers to the same guests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chimera.sandbox import GuestResult, GuestSpec
from chimera.sandbox.compile import build
from chimera.sandbox.engine import wasmtime_version
from chimera.sandbox.layer import open_machine
from chimera.sandbox.residents import Residence, Residents
from subjects.agent import Limits

Binary = Callable[[str], bytes]
GRANTS = ("emit:lab.>", "random", "clock", "wasi")
NAMES = (
    "bad_alloc", "bomb", "chance", "counter", "divide", "echo", "emit", "error", "flood", "genome", "init", "lie",
    "log", "log_outside", "loop", "no_room", "stack", "trap", "wasi",
)  # fmt: skip
LIMITS = Limits(cpu_ms=60.0, wall_ms=9000.0, memory_bytes=2 << 20, output_bytes=90_000)


@pytest.fixture(params=["raw", "public"])
def residents(request: pytest.FixtureRequest) -> Iterator[Residents]:
    """Guests of this process on one of the layers."""
    made = Residents(api=request.param, pooling=request.param == "raw", memory_bytes=64 << 20)
    yield made
    made.close()


def load(residents: Residents, folder: Path, binary: bytes, *, reuse: int = 1) -> tuple[str, str]:
    """Compile and load a module as guest 1."""
    report = build(binary, folder / "m.cwasm", list(GRANTS), deterministic=True)
    spec = GuestSpec("a", "d" * 64, (1.0, 2.0), b"c", LIMITS, reuse, GRANTS)
    path = str(folder / "m.cwasm")
    return residents.load(Residence(1, path, report.sha256, spec, report.imports, report.has_configure, 2 << 20))


def story(residents: Residents) -> list[tuple[object, ...]]:
    """What came of three tasks, without their timings."""
    told: list[tuple[object, ...]] = []
    for payload in (b"one", b"two" * 3000, b""):
        outcome = residents.run(1, "predict", payload)
        if isinstance(outcome, GuestResult):
            told.append((outcome.output, outcome.memory_bytes, outcome.log, outcome.log_dropped, outcome.outbox))
        else:
            told.append((outcome.kind, outcome.limit, outcome.detail, outcome.memory_bytes, outcome.log))
    return told


@pytest.mark.parametrize("reuse", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_layers_agree(tmp_path: Path, guest_binary: Binary, name: str, reuse: int):
    """Outputs, logs, outboxes, failures and memory are equal on both layers."""
    stories: list[list[tuple[object, ...]]] = []
    for api in ("raw", "public"):
        residents = Residents(api=api, pooling=api == "raw", memory_bytes=64 << 20)
        assert load(residents, tmp_path, guest_binary(name), reuse=reuse) == ("", "")
        stories.append(story(residents))
        residents.close()
    assert stories[0] == stories[1]


def test_refusals_are_equal(tmp_path: Path, guest_binary: Binary, residents: Residents):
    """A refused genome, a start that never ends, and damaged code have the same status on both layers."""
    assert load(residents, tmp_path, guest_binary("picky")) == ("genome", "gene 0 is wrong")
    assert load(residents, tmp_path, guest_binary("slow_start"))[0] == "module"
    assert load(residents, tmp_path, guest_binary("slow_init"))[0] == "module"
    order = Residence(2, str(tmp_path / "m.cwasm"), "0" * 64, GuestSpec("a", "d" * 64), (), False, 1 << 20)
    assert residents.load(order)[0] == "corrupt"


def test_a_fault_of_ours_is_contained(
    tmp_path: Path, guest_binary: Binary, residents: Residents, monkeypatch: pytest.MonkeyPatch
):
    """A host function that raises ends the task with its name, and nothing crosses the C frames."""
    from chimera.sandbox.host import Turn

    assert load(residents, tmp_path, guest_binary("log")) == ("", "")

    def broken(_turn: Turn) -> int:
        raise RuntimeError("our mistake")

    monkeypatch.setattr(Turn, "log_room", broken)
    outcome = residents.run(1, "predict", b"x")
    assert not isinstance(outcome, GuestResult)
    assert (outcome.kind, "our mistake" in outcome.detail) == ("agent-contract", True)
    monkeypatch.undo()
    assert isinstance(residents.run(1, "predict", b"x"), GuestResult)


def test_many_instances_leave_nothing_behind(tmp_path: Path, guest_binary: Binary, residents: Residents):
    """Far more fresh instances than the pool has slots: each is given back."""
    assert load(residents, tmp_path, guest_binary("echo")) == ("", "")
    for _ in range(300):
        assert isinstance(residents.run(1, "predict", b"x"), GuestResult)
        residents.tidy()
    assert residents.instances_started(1) == 301


def test_raw_is_taken_only_for_its_version(monkeypatch: pytest.MonkeyPatch):
    """With another wasmtime the public layer serves: the private one is bound to a version."""
    monkeypatch.setattr("chimera.sandbox.engine.RAW_VERSION", wasmtime_version() + "x")
    machine = open_machine("auto", deterministic=True, pooling=False, memory_bytes=1 << 20)
    assert type(machine).__name__ == "PublicMachine"
    monkeypatch.undo()
    assert type(open_machine("auto", deterministic=True, pooling=False, memory_bytes=1 << 20)).__name__ == "RawMachine"
