"""Which nodes could be emptied: by the code that places requests, each lease once, and nothing left behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from msgspec.structs import replace

from actors.brokering import changes
from actors.brokering.accounts import Accounts
from actors.brokering.changes import Ask
from actors.brokering.consolidation import consolidation, need_of
from actors.brokering.consolidation import saving as emptied
from actors.brokering.core import Core
from actors.brokering.record import Record, Refusal
from actors.brokering.registry import Registry
from actors.brokering.usage import interval_of
from actors.costing.buckets import US
from chimera.testing import ManualClock

NOW = 1_800_000_000.0


def gpus(node: str, count: int, *leases: tuple[str, int, int]) -> list[Record]:
    """A node's GPUs; leases are (name, first GPU, how many)."""
    keys = [f"{node}.{node}-{number}" for number in range(count)]
    records = [Record(node, f"{node}-{number}", model="A100", memory_mib=1000) for number in range(count)]
    for name, first, many in leases:
        for at in range(first, first + many):
            made = changes.grant(records[at], Ask(name, tuple(keys[first : first + many]), 1000, 0, 60.0), NOW)
            assert not isinstance(made, Refusal)
            records[at] = made
    return records


def test_nodes_are_emptied_by_the_code_that_places_requests():
    """A gang moves whole to where it fits, a node that took it is kept, and nothing is lent twice by the plan."""
    records = [*gpus("n1", 4, ("a", 0, 1)), *gpus("n2", 4, ("b", 0, 2)), *gpus("n3", 4, ("c", 0, 1), ("d", 1, 1))]
    found = consolidation(records, "pack", lambda _node: 1.0, lambda: False)
    assert found.nodes
    assert set(found.nodes).isdisjoint({key.partition(".")[0] for move in found.moves for key in move.to})
    taken = [key for move in found.moves for key in move.to]
    busy = {one.key for one in records if one.grants}
    assert len(taken) == len(set(taken))
    assert not busy & set(taken)
    saving, _ = emptied(found, 3.0 * len(found.nodes), None)
    assert saving is not None
    assert (saving.saves, saving.basis) == (72.0 * len(found.nodes), "modelled")
    assert saving.how.startswith(f"chimera gpu drain --node {found.nodes[0]}")


def test_a_node_that_takes_leases_up_is_kept():
    """What was moved to a node is not moved on: its holder would be sent twice."""
    records = [
        *gpus("n1", 2, ("a", 0, 1)), *gpus("n2", 3, ("b", 0, 1), ("c", 1, 1)), *gpus("n3", 8, ("e", 0, 5))
    ]  # fmt: skip
    found = consolidation(records, "pack", lambda _node: 1.0, lambda: False)
    assert [(move.lease, move.to) for move in found.moves] == [("a", ("n2.n2-2",))]
    assert found.nodes == ["n1"]


def test_what_was_tried_in_vain_takes_no_room():
    """A node whose second lease fits nowhere leaves the place of its first one to the next node."""
    first = gpus("n1", 2, ("b", 1, 1))
    half = changes.grant(first[0], Ask("a", (first[0].key,), 500, 0, 60.0), NOW)
    last = [replace(one, fenced=True) for one in gpus("n3", 2, ("c", 0, 1), ("gone", 1, 1))]
    ended = changes.end(last[1], "gone", "released", NOW)
    assert isinstance(half, Record)
    assert isinstance(ended, Record)
    records = [half, first[1], *gpus("n2", 2, ("d", 0, 1)), last[0], ended]
    found = consolidation(records, "pack", lambda _node: 1.0, lambda: False)
    assert (found.nodes, [(move.lease, move.to) for move in found.moves]) == (["n3"], [("c", ("n2.n2-1",))])


def test_nothing_is_moved_that_fits_nowhere():
    """Full nodes, and gangs over several nodes, stay; the time that is given is kept to."""
    full = [*gpus("n1", 2, ("a", 0, 2)), *gpus("n2", 2, ("b", 0, 1))]
    assert consolidation(full, "pack", lambda _node: 1.0, lambda: False).nodes == []
    assert consolidation(full, "pack", lambda _node: 1.0, lambda: True).tried == 0
    assert emptied(consolidation(full, "pack", lambda _node: 1.0, lambda: False), 1.0, None)[0] is None
    assert need_of([(one, one.grants[0]) for one in full[:2]]).devices == 2


def test_a_line_on_its_way_to_the_ledger_is_counted_once():
    """Until it is read from the stream it counts from the record, and from then on it does not."""
    record = changes.end(gpus("n1", 1, ("a", 0, 1))[0], "a", "released", NOW + 10)
    assert isinstance(record, Record)
    registry = Registry()
    registry.put(record.key, record, 1, "")
    clock = ManualClock(epoch=NOW + 20)
    accounts = Accounts(cast("Core", SimpleNamespace(registry=registry, clock=clock)))
    (before,) = accounts.live(NOW + 20)
    assert (before.share.end - before.share.begin, before.expires_at) == (10 * US, 0.0)
    accounts.timeline.take(1, interval_of(record, record.lines[0], 1))
    assert accounts.live(NOW + 20) == []
