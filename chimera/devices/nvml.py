"""The GPUs of this machine through NVML. No NVML means no GPUs; a device that fails takes no other one with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from chimera.clock import Clock
from chimera.errors import UnavailableError

from .binding import LIBRARY, NO_DRIVER, UNINITIALIZED, Nvml, NvmlError
from .caller import Caller
from .reading import Reading
from .roster import Roster

T = TypeVar("T")
REOPEN_S = 30.0
"""How often NVML is opened anew while a device is silent: only then can one that was reset come back."""

LOOK_AGAIN_S = 60.0
"""How often a machine without NVML is looked at again."""


class NvmlBackend:
    """Reads all GPUs in one thread, with a deadline for each device.

    Args:
        clock: For intervals.
        library: Name or path of NVML.
        deadline_s: How long reading one device may take.
        declared_w: Watts to count with where a device tells neither energy nor power.
    """

    def __init__(
        self, *, clock: Clock, library: str = LIBRARY, deadline_s: float = 2.0, declared_w: float | None = None
    ) -> None:
        self._clock, self._library = clock, library
        self._caller = Caller("chimera-nvml", deadline_s=deadline_s)
        self._roster = Roster(declared_w)
        self._nvml: Nvml | None = None
        self._next_open = self._next_reopen = 0.0
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """What is wrong with the driver as a whole, or an empty string; a machine without one is not in trouble."""
        return self._trouble

    async def read(self) -> list[Reading]:
        """All GPUs, or their MIG instances where one is divided. Never raises for a device or a driver."""
        self._roster.begin()
        try:
            nvml = await self._open()
            if nvml is not None:
                await self._read_all(nvml)
        except (NvmlError, UnavailableError) as error:
            await self._fail(error)
        self._roster.end(self._trouble)
        return self._roster.readings(self._clock.monotonic())

    async def close(self) -> None:
        """Give NVML back, unless it hangs."""
        await self._shut()
        self._caller.close()

    async def _open(self) -> Nvml | None:
        now = self._clock.monotonic()
        if self._nvml is not None and self._roster.any_silent and now >= self._next_reopen and not self._caller.hanging:
            await self._shut()
            self._next_reopen = now + REOPEN_S
        if self._nvml is None and now >= self._next_open:
            self._nvml = await self._call(lambda: Nvml.open(self._library))
            if self._nvml is None:
                self._next_open = now + LOOK_AGAIN_S
        return self._nvml

    async def _read_all(self, nvml: Nvml) -> None:
        now = self._clock.monotonic()
        count = await self._call(nvml.count)
        self._trouble = ""
        for uuid, xid in await self._call(lambda: list(nvml.xids()), "events"):
            self._roster.report_xid(uuid, xid, now)
        for index in range(count):
            await self._read_one(nvml, index)

    async def _read_one(self, nvml: Nvml, index: int) -> None:
        try:
            sample = await self._call(lambda: nvml.sample(index), f"device {index}")
        except (NvmlError, UnavailableError) as error:
            if isinstance(error, NvmlError) and error.code == UNINITIALIZED:
                raise
            self._roster.missed(index, str(error))
        else:
            self._roster.saw(index, sample, self._clock.monotonic())

    async def _fail(self, error: Exception) -> None:
        """NVML as a whole did not answer. Without a driver and without any GPU so far, there just is none."""
        absent = isinstance(error, NvmlError) and error.code == NO_DRIVER and not len(self._roster)
        self._trouble = "" if absent else str(error)
        if absent:
            self._next_open = self._clock.monotonic() + LOOK_AGAIN_S
        if isinstance(error, NvmlError):
            await self._shut()

    async def _shut(self) -> None:
        nvml, self._nvml = self._nvml, None
        if nvml is None:
            return
        try:
            await self._call(nvml.close)
        except (NvmlError, UnavailableError) as error:
            self._trouble = str(error)

    async def _call(self, work: Callable[[], T], key: str = "") -> T:
        return await self._caller.call(work, key=key)
