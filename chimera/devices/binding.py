"""NVML through nvidia-ml-py, as typed functions with optional readings. Each may block: see ``caller``.

Facts that shaped it: many parts do not support many readings; R535 drivers shuffled the process list, so it advises
only; memory is read in version 2, because version 1 counts what the driver reserves as used; an index can change, so a
device is known by its UUID.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from chimera.errors import flatten

T = TypeVar("T")
LIBRARY = "libnvidia-ml.so.1"
_MIB = 1 << 20
_MOST_EVENTS = 64
_UNCORRECTED, _VOLATILE = 1, 0
_SHUTDOWN, _SLOWDOWN = 0, 1
_XID = 8


class NvmlError(Exception):
    """NVML answered with an error; ``code`` is its number."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


UNINITIALIZED, NO_DRIVER, LOST, NEEDS_RESET, UNKNOWN = 1, 9, 15, 16, 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one device tells at one moment; ``None`` = it does not tell. Sizes in MiB, power in W, energy in J.

    Attributes:
        memory_used_mib: Without ``memory_reserved_mib``, what the driver keeps for itself.
        energy_j: The device's own sum since its driver was loaded.
        ecc_errors: Memory errors since then that could not be corrected.
        reset_pending: Faulty memory is replaced at the next reset.
        memory_failed: Faulty memory can't be replaced any more.
        processes: Process to the MiB it holds (``None`` = not told); ``None`` as a whole = not told.
        parts: MIG instances, UUID and MiB; ``None`` = the device is not divided.
    """

    uuid: str
    model: str
    pci_bus: str | None = None
    capability: str | None = None
    memory_mib: int | None = None
    memory_used_mib: int | None = None
    memory_reserved_mib: int | None = None
    utilization: float | None = None
    temperature_c: float | None = None
    slowdown_c: float | None = None
    shutdown_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    ecc_errors: int | None = None
    reset_pending: bool | None = None
    memory_failed: bool | None = None
    processes: dict[int, int | None] | None = None
    parts: list[tuple[str, int]] | None = None


@dataclass(slots=True)
class Nvml:
    """An open NVML. Blocking: every method belongs into a ``Caller``."""

    _api: Any
    _events: Any = None
    _watched: set[str] = field(default_factory=set[str])

    @classmethod
    def open(cls, library: str = LIBRARY) -> Nvml | None:
        """Load and initialise it; ``None`` if this machine has none.

        Raises:
            NvmlError: If it is there and its driver does not work.
        """
        try:
            loaded = ctypes.CDLL(library)
        except OSError:
            return None
        import pynvml  # noqa: PLC0415 - 80 ms that only a machine with a GPU pays

        api = cast("Any", pynvml)
        if api.nvmlLib is None or getattr(api.nvmlLib, "_name", "") != library:
            api.nvmlLib = loaded
            getattr(api, "_nvmlGetFunctionPointer_cache", {}).clear()
        opened = cls(api)
        opened._call(api.nvmlInit)
        opened._events = opened._optional(api.nvmlEventSetCreate)
        return opened

    def close(self) -> None:
        """Give it back."""
        with suppress(NvmlError):
            if self._events is not None:
                self._call(self._api.nvmlEventSetFree, self._events)
            self._call(self._api.nvmlShutdown)

    def driver(self) -> str | None:
        """The driver's version."""
        return self._optional(self._api.nvmlSystemGetDriverVersion)

    def count(self) -> int:
        """Devices on the bus, lost ones included."""
        return int(self._call(self._api.nvmlDeviceGetCount))

    def uuid(self, index: int) -> str:
        """The UUID of the device at ``index`` now."""
        return str(self._call(self._api.nvmlDeviceGetUUID, self._handle(index)))

    def sample(self, index: int) -> Sample:
        """All that the device at ``index`` tells.

        Raises:
            NvmlError: If it does not even tell who it is, or was lost meanwhile.
        """
        api, handle = self._api, self._handle(index)
        uuid = str(self._call(api.nvmlDeviceGetUUID, handle))
        self._watch(uuid, handle)
        memory = self._optional(api.nvmlDeviceGetMemoryInfo, handle, api.nvmlMemory_v2)
        remapped = self._optional(api.nvmlDeviceGetRemappedRows, handle)
        retiring = self._optional(api.nvmlDeviceGetRetiredPagesPendingStatus, handle)
        return Sample(
            uuid=uuid,
            model=str(self._optional(api.nvmlDeviceGetName, handle) or "unknown"),
            pci_bus=self._text(api.nvmlDeviceGetPciInfo, handle),
            capability=self._capability(handle),
            memory_mib=memory and int(memory.total) // _MIB,
            memory_used_mib=memory and int(memory.used) // _MIB,
            memory_reserved_mib=memory and int(memory.reserved) // _MIB,
            utilization=self._scaled(api.nvmlDeviceGetUtilizationRates, handle, scale=0.01, field="gpu"),
            temperature_c=self._temperature(handle),
            slowdown_c=self._scaled(api.nvmlDeviceGetTemperatureThreshold, handle, _SLOWDOWN),
            shutdown_c=self._scaled(api.nvmlDeviceGetTemperatureThreshold, handle, _SHUTDOWN),
            power_w=self._scaled(api.nvmlDeviceGetPowerUsage, handle, scale=0.001),
            power_limit_w=self._scaled(api.nvmlDeviceGetEnforcedPowerLimit, handle, scale=0.001),
            energy_j=self._scaled(api.nvmlDeviceGetTotalEnergyConsumption, handle, scale=0.001),
            ecc_errors=self._optional(api.nvmlDeviceGetTotalEccErrors, handle, _UNCORRECTED, _VOLATILE),
            reset_pending=_either(retiring, remapped and remapped[2]),
            memory_failed=remapped and bool(remapped[3]),
            processes=self._processes(handle),
            parts=self._parts(handle),
        )  # fmt: skip

    def xids(self) -> Iterator[tuple[str, int]]:
        """Errors that the driver reported since the last time: UUID and Xid."""
        for _ in range(_MOST_EVENTS if self._events is not None else 0):
            event = self._optional(self._api.nvmlEventSetWait, self._events, 0)
            if event is None:
                return
            uuid = self._optional(self._api.nvmlDeviceGetUUID, event.device)
            yield str(uuid or ""), int(event.eventData)

    def _handle(self, index: int) -> Any:
        return self._call(self._api.nvmlDeviceGetHandleByIndex, index)

    def _watch(self, uuid: str, handle: Any) -> None:
        if self._events is not None and uuid not in self._watched:
            self._optional(self._api.nvmlDeviceRegisterEvents, handle, _XID, self._events)
            self._watched.add(uuid)

    def _temperature(self, handle: Any) -> float | None:
        value = self._scaled(self._api.nvmlDeviceGetTemperatureV, handle, 0)
        return value if value is not None else self._scaled(self._api.nvmlDeviceGetTemperature, handle, 0)

    def _capability(self, handle: Any) -> str | None:
        found = self._optional(self._api.nvmlDeviceGetCudaComputeCapability, handle)
        return found and f"{found[0]}.{found[1]}"

    def _processes(self, handle: Any) -> dict[int, int | None] | None:
        api, found = self._api, cast("dict[int, int | None] | None", None)
        for function in (api.nvmlDeviceGetComputeRunningProcesses, api.nvmlDeviceGetGraphicsRunningProcesses):
            rows = self._optional(function, handle)
            if rows is not None:
                found = found or {}
                found |= {int(row.pid): row.usedGpuMemory and int(row.usedGpuMemory) // _MIB for row in rows}
        return found

    def _parts(self, handle: Any) -> list[tuple[str, int]] | None:
        api = self._api
        mode = self._optional(api.nvmlDeviceGetMigMode, handle)
        if not mode or not mode[0]:
            return None
        parts: list[tuple[str, int]] = []
        for index in range(int(self._optional(api.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)):
            part = self._optional(api.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
            memory = part and self._optional(api.nvmlDeviceGetMemoryInfo, part, api.nvmlMemory_v2)
            if memory is not None:
                parts.append((str(self._call(api.nvmlDeviceGetUUID, part)), int(memory.total) // _MIB))
        return parts

    def _text(self, function: Callable[..., Any], handle: Any) -> str | None:
        info = self._optional(function, handle)
        text = info.busId if info is not None else None
        return text.decode(errors="replace") if isinstance(text, bytes) else text

    def _scaled(
        self, function: Callable[..., Any], *arguments: Any, scale: float = 1.0, field: str = ""
    ) -> float | None:
        value = self._optional(function, *arguments)
        if value is None:
            return None
        return float(getattr(value, field) if field else value) * scale

    def _optional(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A reading, or ``None`` for whatever reason there is none, unless the device itself is gone."""
        try:
            return self._call(function, *arguments)
        except NvmlError as error:
            if error.code in {LOST, NEEDS_RESET, UNINITIALIZED}:
                raise
            return None

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return function(*arguments)
        except self._api.NVMLError as error:
            raise NvmlError(int(error.value), f"{error} (NVML {error.value})") from error
        except (ValueError, TypeError, AttributeError, OSError) as error:  # a driver that answers what nobody can read
            raise NvmlError(UNKNOWN, f"{flatten(error)} (NVML)") from error


def _either(one: Any, other: Any) -> bool | None:
    return None if one is None and other is None else bool(one or other)
