"""Processors of the nodes on which genomes run: leased while they do, and left to others who need them more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from actors.breeding.berths import SHARE, Berths
from actors.breeding.crew import AHEAD, Member
from actors.execution.slots import Slot

pytestmark = pytest.mark.anyio


class Lender:
    """Lends processors and knows who has them."""

    def __init__(self) -> None:
        self.held: dict[str, Slot] = {}

    @asynccontextmanager
    async def hold(self, node: str, cpus: float) -> AsyncGenerator[Slot]:
        """One node's."""
        self.held[node] = Slot(cpus, "", 20, node)
        yield self.held[node]
        del self.held[node]


async def test_processors_are_leased_where_genomes_run_and_no_longer():
    """A lease per node, of a share of its workers, resized with them, and given back when nothing runs there."""
    lender, one, two = Lender(), Member("one", workers=4), Member("two")
    berths = Berths(lender.hold)
    await berths.keep([one, two])
    assert {node: slot.cpus for node, slot in lender.held.items()} == {"one": 4 * SHARE, "two": SHARE}
    one.workers = 2
    await berths.keep([one])
    assert {node: slot.cpus for node, slot in lender.held.items()} == {"one": 2 * SHARE}
    await berths.keep([])
    assert lender.held == {}


async def test_a_node_whose_processors_are_wanted_back_gets_one_request_at_a_time():
    """After the broker's notice genomes hardly use the node, until they are granted processors again."""
    lender, member = Lender(), Member("one", workers=4)
    berths = Berths(lender.hold)
    await berths.keep([member])
    assert member.most == 4 + AHEAD
    lender.held["one"].noticed = True
    await berths.keep([member])
    assert member.most == 1
    lender.held["one"].noticed = False
    await berths.keep([member])
    assert member.most == 4 + AHEAD


async def test_without_a_broker_nothing_is_leased():
    """Genomes run all the same."""
    member = Member("one", workers=2)
    await Berths().keep([member])
    assert member.most == 2 + AHEAD
