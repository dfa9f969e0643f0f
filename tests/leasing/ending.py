"""The end of a world of leases: the faults cease, and everybody does what is due until nothing is lent any more."""

from __future__ import annotations

from tests.leasing.model import World

_ROUNDS, _LONG_S = 300, 60.0
"""A lease that was granted by a clock that was an hour ahead stands for that hour."""


def settle(world: World) -> None:
    """The faults end and everybody does what is due, until all leases must be over."""
    world.cut.clear()
    for broker in world.brokers.values():
        broker.behind = 0.0
    for client in world.clients.values():
        client.over = True
    for node in world.boxes:
        world.agent_up(node)
        world.floor.backends[node].silent.clear()
    for work in [work for work in world.floor.works.values() if not work.lease]:
        world.floor.stop(work)
    for number in range(_ROUNDS):
        _turn(world, 1.0 if number < _ROUNDS // 2 else _LONG_S)
        if _is_quiet(world):
            break
    world.overseer.sum_up(world.store.records(), world.store.usage)


def _turn(world: World, seconds: float) -> None:
    while world.mail:
        world.deliver(0)
    for lease, client in world.clients.items():
        if client.tokens and not client.stopped and client.tenure.is_over(world.now) and not client.deaf:
            world.stop(lease)
    for node in world.boxes:
        world.follow(node)
        world.round(node)
    for name in world.brokers:
        world.listen(name)
        world.sweep(name)
        world.book(name)
    world.wait(seconds)


def _is_quiet(world: World) -> bool:
    busy = any(record.grants or record.lines for record in world.store.records().values())
    return not busy and not world.mail and not any(work.lease for work in world.floor.works.values())
