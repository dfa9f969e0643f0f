"""The streams and the store of a node, opened for a repair, whether or not the node runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from chimera.config import ChildSettings, Settings, SupervisorSettings
from chimera.store import Part, Projector, Store, open_store

from .runfile import read_run_file
from .services import foreign_bus, own_bus, server_settings
from .tree import load_object

if TYPE_CHECKING:
    from chimera.bus.contract import Bus


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[tuple[Bus, Store]]:
    """The bus and the store. The node's server is used if the node runs; otherwise it is started for the time.

    Raises:
        BusDownError: If the server does not answer.
        StartError: If the node's server can't be started.
    """
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(await _bus(settings, stack))
        own = settings.store
        store = open_store(own.url, settings.node.data, settings.nats.durability, connections=own.connections)
        yield bus, await stack.enter_async_context(store)


def parts_of(settings: Settings, bus: Bus, store: Store) -> list[Part]:
    """Every projection of the tree in the settings: the runtime's own, and those that its actors declare."""
    parts: list[Part] = list(Projector(bus, store).parts())
    for child in _children(settings.supervision):
        if ":" in child.actor and (not child.roles or set(child.roles) & set(settings.node.roles)):
            declared = getattr(load_object(child.actor, f"supervision child {child.id}"), "projections", None)
            if declared is not None:
                parts += declared(bus, store)
    return parts


async def _bus(settings: Settings, stack: AsyncExitStack) -> Any:
    from chimera.server import EmbeddedServer

    if settings.nats.url:
        return foreign_bus(settings, name="chimera-repair")
    server = EmbeddedServer(server_settings(settings))
    running = read_run_file(settings.node.data)
    if running is not None:
        return own_bus(server, running.nats_url, name="chimera-repair")
    await server.start()
    stack.push_async_callback(server.stop)
    return own_bus(server, server.url, name="chimera-repair")


def _children(tree: SupervisorSettings) -> Iterator[ChildSettings]:
    for child in tree.children:
        if isinstance(child, SupervisorSettings):
            yield from _children(child)
        else:
            yield child
