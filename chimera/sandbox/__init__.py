"""Runs WASM agents within limits, in processes of their own."""

from .contract import Guest, GuestFailure, GuestResult, GuestSpec, ModuleInfo, Sandbox, SandboxStatistics
from .factory import create_sandbox
from .settings import SandboxSettings

__all__ = [
    "Guest",
    "GuestFailure",
    "GuestResult",
    "GuestSpec",
    "ModuleInfo",
    "Sandbox",
    "SandboxSettings",
    "SandboxStatistics",
    "create_sandbox",
]
