"""Loaded guests, shared by everything that needs the same one, and unloaded when nothing does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from chimera.errors import BadModuleError
from chimera.sandbox.contract import Guest, GuestSpec, ModuleInfo, Sandbox, Swept

from .manifest import check_grants


@dataclass(slots=True)
class _Entry:
    users: int = 0
    guest: Guest | None = None
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class GuestPool:
    """Guests by specification, counted.

    Args:
        sandbox: Where they run.
        fetch: Finds a module by its digest when this machine has not checked it yet.
        grants: What the operator allows today.
    """

    def __init__(
        self, sandbox: Sandbox, fetch: Callable[[str], Awaitable[bytes | None]], grants: Sequence[str]
    ) -> None:
        self._sandbox = sandbox
        self._fetch = fetch
        self._grants = grants
        self._entries: dict[GuestSpec, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def check(self, module: bytes, grants: Sequence[str]) -> ModuleInfo:
        """What a module is.

        Raises:
            BadModuleError: If it is refused.
        """
        return await self._sandbox.check(module, grants)

    async def inspect(self, digest: str, grants: Sequence[str]) -> ModuleInfo:
        """What a module of the book is.

        Raises:
            BadModuleError: If it is refused or lost.
        """
        module = await self._fetch(digest)
        if module is None:
            raise BadModuleError(f"module {digest[:12]} is not in the object store", hint="deploy the agent again")
        return await self._sandbox.check(module, grants)

    async def acquire(self, spec: GuestSpec) -> Guest:
        """The guest, loaded if it is not yet. Give it back with ``release``.

        Raises:
            BadModuleError: If its module is refused or asks for more than is granted.
            BadGenomeError: If the guest refuses its genome.
        """
        check_grants(spec.grants, self._grants)
        entry = self._entries.setdefault(spec, _Entry())
        entry.users += 1
        try:
            async with entry.lock:
                if entry.guest is None:
                    entry.guest = await self._load(spec)
                return entry.guest
        except BaseException:
            self._leave(spec, entry)
            raise

    @property
    def workers(self) -> int:
        """Worker processes that run guests."""
        return self._sandbox.statistics().workers

    async def sweep(
        self, spec: GuestSpec, task: str, payloads: Sequence[bytes], fields: Sequence[str], *, timeout_s: float,
        give_up: int,
    ) -> Swept:  # fmt: skip
        """Run payloads on a guest that is loaded for the occasion; see ``Sandbox.sweep``.

        Raises:
            BadModuleError: If its module is refused or asks for more than is granted.
            BadGenomeError: If the guest refuses its genome.
        """
        check_grants(spec.grants, self._grants)
        try:
            return await self._sandbox.sweep(spec, task, payloads, fields, timeout_s=timeout_s, give_up=give_up)
        except BadModuleError:
            await self.inspect(spec.digest, spec.grants)
            return await self._sandbox.sweep(spec, task, payloads, fields, timeout_s=timeout_s, give_up=give_up)

    async def release(self, guest: Guest) -> None:
        """Give a guest back; the last one unloads it."""
        entry = self._entries.get(guest.spec)
        if entry is not None and entry.guest is guest and self._leave(guest.spec, entry):
            await guest.close()

    async def close(self) -> None:
        """Unload everything."""
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            if entry.guest is not None:
                await entry.guest.close()

    def _leave(self, spec: GuestSpec, entry: _Entry) -> bool:
        entry.users -= 1
        if entry.users == 0 and self._entries.get(spec) is entry:
            del self._entries[spec]
            return True
        return False

    async def _load(self, spec: GuestSpec) -> Guest:
        try:
            return await self._sandbox.load(spec)
        except BadModuleError:
            await self.inspect(spec.digest, spec.grants)
            return await self._sandbox.load(spec)
