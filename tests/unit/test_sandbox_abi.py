"""The pure half of the sandbox: signatures, grants, subjects, the turnstile, and what importing it costs."""

import subprocess
import sys

import pytest

from chimera.errors import BadModuleError, OverloadedError
from chimera.sandbox.abi import (
    ALLOC,
    TASK,
    Export,
    Import,
    Signature,
    buffer_size,
    check_binary,
    check_exports,
    check_grants,
    check_imports,
    subject_matches,
)
from chimera.sandbox.host import Turn
from chimera.sandbox.turnstile import PROMPT_AFTER, PROMPT_HOLD_S, Turnstile

GOOD = [Export("memory", "memory"), Export("chimera_alloc", "function", ALLOC), Export("predict", "function", TASK)]


def test_contract_does_not_load_the_engine():
    """Importing the sandbox's public names leaves wasmtime and the pool unloaded: the main process stays small."""
    code = (
        "import sys, chimera.sandbox, chimera.sandbox.contract, chimera.sandbox.local;"
        "sys.exit('wasmtime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exports():
    """Tasks are found by their type; reserved names must have theirs."""
    shape = check_exports([*GOOD, Export("b", "function", TASK), Export("_hidden", "function", TASK)])
    assert shape.tasks == ("b", "predict")
    with pytest.raises(BadModuleError, match="chimera_save"):
        check_exports([*GOOD, Export("chimera_save", "function", ALLOC)])
    with pytest.raises(BadModuleError, match="_initialize as a global"):
        check_exports([*GOOD, Export("_initialize", "global")])
    with pytest.raises(BadModuleError, match="memory"):
        check_exports(GOOD[1:])


def test_imports_and_grants():
    """An import is linked only with its type and its grant; a grant that does not exist is named."""
    log = Import("chimera_v1", "log", Signature(("i32",) * 3, ()))
    now = Import("chimera_v1", "now", Signature((), ("i64",)))
    assert check_imports([log, log, now], ("clock",)) == ("chimera_v1.log", "chimera_v1.now")
    with pytest.raises(BadModuleError, match="now, which is not granted"):
        check_imports([now], ("random",))
    with pytest.raises(BadModuleError, match="does not exist"):
        check_imports([Import("chimera_v2", "log", log.signature)], ("wasi",))
    with pytest.raises(BadModuleError, match="no grant 'emit:'"):
        check_grants((), ("emit:",))


def test_binary_check():
    """Text, components and what is too big are refused before any engine sees them."""
    check_binary(b"\0asm\x01\0\0\0")
    for bad in (b"", b"(module)", b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0" + bytes(8 << 20)):
        with pytest.raises(BadModuleError):
            check_binary(bad)


@pytest.mark.parametrize(("needed", "size"), [(0, 4096), (1, 4096), (4096, 4096), (4097, 8192), (100_000, 131_072)])
def test_buffer_size(needed: int, size: int):
    """Buffers start at 4 KiB and double."""
    assert buffer_size(needed) == size


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("a.b", "a.c", False),
    ],
)
def test_subject_matches(pattern: str, subject: str, *, fits: bool):
    """Patterns mean what they mean in NATS."""
    assert subject_matches(pattern, subject) is fits


@pytest.mark.parametrize("subject", [b"a..b", b"", b"a.*", b"a.>", b"a b", b"a.\xff", b"a.\n"])
def test_emit_refuses_what_is_no_subject(subject: bytes):
    """A guest cannot publish to a wildcard, an empty token or control characters, whatever its grant."""
    turn = Turn(seed=b"", patterns=(">",))
    assert turn.emit(subject, b"") == 1
    assert not turn.outbox


def test_outbox_is_bounded():
    """A full outbox answers 2 in count and in bytes."""
    turn = Turn(seed=b"", patterns=(">",))
    assert turn.emit(b"a", bytes(1 << 20)) == 0
    assert turn.emit(b"a", b"x") == 2
    many = Turn(seed=b"", patterns=(">",))
    assert [many.emit(b"a", b"") for _ in range(257)][-2:] == [0, 2]


def test_turnstile_keeps_one_worker_for_others():
    """An agent gets all workers but one; waiting calls are served in order, past those that may not have one."""
    gate: Turnstile[str] = Turnstile(2, max_waiting=3)
    gate.add("w1")
    gate.add("w2")
    got: list[str] = []
    assert gate.take("a") == "w2"
    assert gate.take("a") is None
    for name in ("a1", "a2"):
        gate.wait("a", lambda worker, name=name: got.append(f"{name}:{worker}") or True)
    assert gate.take("b") == "w1"
    gate.wait("b", lambda worker: got.append(f"b1:{worker}") or True)
    with pytest.raises(OverloadedError):
        gate.wait("c", bool)
    gate.leave("b")
    gate.add("w1")
    assert got == ["b1:w1"]
    gate.leave("a")
    gate.add("w2")
    assert got == ["b1:w1", "a1:w2"]


def test_turnstile_skips_callers_that_left():
    """A cancelled ticket and one whose caller no longer wants it cost nothing."""
    gate: Turnstile[str] = Turnstile(2, max_waiting=9)
    first = gate.wait("a", lambda _: True)
    gate.wait("a", lambda _: False)
    gate.cancel(first)
    gate.cancel(first)
    gate.add("w")
    assert (gate.idle, gate.waiting) == (1, 0)
    assert gate.take("a") == "w"


def _hold(gate: Turnstile[str], agent: str, held_s: float) -> None:
    worker = gate.take(agent)
    assert worker is not None
    gate.leave(agent, held_s)
    gate.add(worker)


def test_a_prompt_agent_may_use_every_worker_until_it_is_slow_once():
    """The bulkhead is for agents that could keep others waiting, not for those that give back at once."""
    gate: Turnstile[str] = Turnstile(2, max_waiting=9)
    gate.add("w1")
    gate.add("w2")
    for _ in range(PROMPT_AFTER):
        _hold(gate, "a", PROMPT_HOLD_S / 2)
    assert (gate.take("a"), gate.take("a")) == ("w2", "w1")
    gate.leave("a", PROMPT_HOLD_S * 2)
    gate.add("w1")
    assert gate.take("a") is None
    assert gate.take("b") == "w1"
