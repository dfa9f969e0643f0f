"""The WebAssembly agents that ship with Chimera: sources, manifests, built modules, and hostile ones for tests."""

from .catalog import ShippedGuest, hostile_guests, shipped, shipped_guest
from .corruption import corrupted

__all__ = ["ShippedGuest", "corrupted", "hostile_guests", "shipped", "shipped_guest"]
