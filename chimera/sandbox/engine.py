"""The engine's configuration: what is compiled, for which profile, and what tells compiled modules apart."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasmtime import Config

RAW_VERSION = "50.0.1"
"""The wasmtime whose private C layer ``raw.py`` was written for and tested with."""

MAX_STACK_BYTES = 512 << 10
_OFF = (
    "wasm_threads", "wasm_memory64", "wasm_multi_memory", "wasm_relaxed_simd", "wasm_gc", "wasm_exceptions",
    "wasm_function_references", "wasm_tail_call", "wasm_wide_arithmetic", "wasm_custom_page_sizes",
    "wasm_stack_switching", "wasm_component_model", "gc_support", "shared_memory",
)  # fmt: skip


@lru_cache(maxsize=1)
def wasmtime_version() -> str:
    """The installed wasmtime, found without importing it."""
    return version("wasmtime")


def profile_name(*, deterministic: bool) -> str:
    """The name of a profile: modules compiled for one do not serve the other."""
    return "deterministic" if deterministic else "live"


@lru_cache(maxsize=2)
def fingerprint(*, deterministic: bool) -> str:
    """Everything besides the module that decides its compiled form: wasmtime, profile, configuration, processor."""
    parts = [wasmtime_version(), profile_name(deterministic=deterministic), str(MAX_STACK_BYTES), *_OFF, _processor()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_config(*, deterministic: bool) -> Config:
    """Epoch interruption, Cranelift, one thread, every proposal beyond the common core off.

    ``deterministic`` makes NaN bit patterns canonical: then equal inputs give equal bytes on every machine.
    """
    from wasmtime import Config  # noqa: PLC0415 - the main process never needs it

    config = Config()
    config.epoch_interruption = True
    config.parallel_compilation = False
    config.strategy = "cranelift"
    config.max_wasm_stack = MAX_STACK_BYTES
    config.cranelift_nan_canonicalization = deterministic
    for feature in _OFF:
        setattr(config, feature, False)
    return config


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()} {features.partition(':')[2].strip()}"
