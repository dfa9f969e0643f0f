"""How the sandbox is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Api = Literal["auto", "raw", "public"]
MAX_WORKERS = 8


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """How many workers, how much they may use, and where compiled modules are kept.

    Attributes:
        cache_dir: Folder of the compiled modules; made with mode 0700.
        workers: Worker processes; 0 = one per CPU, at least 2 and at most 8.
        memory_limit_bytes: Most linear memory of one instance, whatever its manifest asks for (``WASM_MEMORY_LIMIT``).
        max_waiting: Calls that may wait for a worker; one more is answered ``Overloaded``.
        allow_inline: Whether agents may run in the main process.
        api: ``raw`` is wasmtime's C layer, ``public`` its slower documented one; ``auto`` takes raw where its version
            is the one it was made for. The variable ``CHIMERA_SANDBOX_API`` decides when this is ``auto``.
    """

    cache_dir: Path
    workers: int = 0
    memory_limit_bytes: int = 1 << 30
    max_waiting: int = 1024
    allow_inline: bool = False
    api: Api = "auto"

    def worker_count(self) -> int:
        """Workers to start."""
        return self.workers if self.workers > 0 else min(MAX_WORKERS, max(2, os.cpu_count() or 2))

    def chosen_api(self) -> Api:
        """The engine layer asked for, the environment variable included."""
        asked = os.environ.get("CHIMERA_SANDBOX_API", "")
        if self.api == "auto" and asked in {"raw", "public"}:
            return "raw" if asked == "raw" else "public"
        return self.api
