"""Just enough of the CUDA driver API to hold memory on a GPU and keep it busy, by ctypes: no framework is needed."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

DRIVER = "libcuda.so.1"


class CudaError(Exception):
    """The driver refused a call."""


class Cuda:
    """The first device that ``CUDA_VISIBLE_DEVICES`` shows.

    Raises:
        CudaError: If there is no driver or no device.
    """

    def __init__(self) -> None:
        try:
            self._api = ctypes.CDLL(DRIVER)
        except OSError as error:
            raise CudaError(f"no CUDA driver here: {error}") from error
        self._call("cuInit", 0)
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)
        self._held: list[tuple[Any, int]] = []

    def hold(self, mib: int) -> None:
        """Allocate that much of its memory, and write to all of it."""
        pointer, size = ctypes.c_uint64(), mib << 20
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        self._held.append((pointer, size))
        self.work(0)

    def work(self, seconds: float) -> None:
        """Write to what is held again and again for about that long; once at least."""
        until = time.monotonic() + seconds
        while True:
            for pointer, size in self._held:
                self._call("cuMemsetD32_v2", pointer, ctypes.c_uint(1), ctypes.c_size_t(size // 4))
            self._call("cuCtxSynchronize")
            if time.monotonic() >= until:
                return

    def close(self) -> None:
        """Give everything back."""
        for pointer, _ in self._held:
            self._call("cuMemFree_v2", pointer)
        self._held.clear()
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._api, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._api.cuGetErrorString(code, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'error').decode()} ({code})")


def main() -> None:
    """``python -m tests.support.cuda MIB SECONDS``: hold memory and keep the device busy; SIGTERM ends it."""
    mib, seconds = int(sys.argv[1]), float(sys.argv[2])
    cuda = Cuda()
    cuda.hold(mib)
    print(f"holds {mib} MiB", flush=True)
    cuda.work(seconds)
    cuda.close()


if __name__ == "__main__":
    main()
