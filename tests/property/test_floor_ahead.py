"""What the broker chose ahead, while nobody waited, is what it would choose now: whatever happened in between."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.brokering.changes import Ask, drain, end, grant
from actors.brokering.floor import Floor
from actors.brokering.record import Record, Refusal
from actors.brokering.registry import Registry
from actors.brokering.want import Part
from subjects.lease import Need

NEEDS = (Need(), Need(milli=300, memory_mib=1_000), Need(devices=2), Need(kind="cpu", milli=2_000))
WHAT = ["choose", "grant", "end", "drain", "silence", "hush", "hold", "let-go", "pack", "spread", "learn"]
STEPS = st.tuples(
    st.sampled_from(
        ["choose", "grant", "end", "drain", "silence", "hush", "hold", "let-go", "pack", "spread", "learn", "warm"]
    ),
    st.integers(0, 6),
)


class Plain(Floor):
    """Never looks ahead."""

    def warm(self) -> None:
        """Nothing."""


class Stage:
    """Two nodes with three GPUs each, seen by a floor that looks ahead and by one that never does."""

    def __init__(self) -> None:
        self.registry, self.silent, self.seq = Registry(), set[str](), 0
        self.floors = [kind(self.registry, lambda record: record.node not in self.silent) for kind in (Floor, Plain)]
        self.registry.on_change = self._changed
        self.held: list[Part] = []
        for node in ("n0", "n1"):
            for number in range(3):
                self.put(Record(node, f"GPU-{node}-{number}", milli=1_000, memory_mib=80_000))
            self.put(Record(node, f"CPU-{node}", kind="cpu", milli=8_000, memory_mib=64_000))

    def _changed(self, key: str) -> None:
        for floor in self.floors:
            floor.changed(key)

    def put(self, record: Record | Refusal) -> None:
        """A record as it was stored, unless it was refused."""
        if isinstance(record, Record):
            self.seq += 1
            self.registry.put(record.key, record, self.seq, str(self.seq))

    def step(self, what: str, which: int) -> None:
        """Something happens, and then, as soon as nobody waits, one floor looks ahead."""
        records = sorted(self.registry.records(), key=lambda one: one.key)
        record = records[which % len(records)]
        if what == "choose":
            self.choose(NEEDS[which % len(NEEDS)])
        elif what == "grant":
            ask = Ask(f"l{self.seq}", (record.key,), record.milli // 2, 1_000, 60.0)
            self.put(grant(record, ask, 0.0))
        elif what == "end" and record.grants:
            self.put(end(record, record.grants[0].lease, "released", 1.0))
        elif what == "drain":
            self.put(drain(record, "" if record.drained else "swept"))
        elif what == "silence":
            self.silent ^= {record.node}
            for key in self.registry.nodes[record.node]:
                self._changed(key)
        elif what == "hush":  # nobody has noticed yet
            self.silent |= {record.node}
        self._alter(what, record)

    def _alter(self, what: str, record: Record) -> None:
        if what in {"pack", "spread"}:
            for floor in self.floors:
                floor.pack_or_spread("pack" if what == "pack" else "spread")
        elif what == "learn":
            for floor in self.floors:
                floor.learn()
        elif what == "hold":
            self.held.append(Part(record.key, 100, 100))
            for floor in self.floors:
                floor.hold(f"h{record.key}", (self.held[-1],))
        elif what == "let-go" and self.held:
            part = self.held.pop()
            for floor in self.floors:
                floor.let_go(f"h{part.key}", (part,))

    def choose(self, need: Need) -> None:
        """Both are asked, and both learn of it."""
        ahead, plain = (floor.choose(need) for floor in self.floors)
        assert ahead == plain
        for floor in self.floors:
            floor.note(need)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(0, len(NEEDS) - 1))
def test_what_was_chosen_ahead_is_what_would_be_chosen_now(steps: list[tuple[str, int]], need: int) -> None:
    """After any history, the same need asked again and again gets the same devices from both."""
    stage = Stage()
    for what, which in steps:
        stage.step(what, which)
        stage.choose(NEEDS[need])
        stage.floors[0].warm()
