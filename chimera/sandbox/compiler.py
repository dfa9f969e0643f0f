"""The main process's side of compiling: one limited child per module, its report checked, its result cached."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from chimera.errors import BadModuleError

from .abi import check_binary
from .cache import CacheEntry, ModuleCache
from .compile import CompileReport, cpu_limit_s
from .contract import ModuleInfo
from .engine import profile_name
from .spawn import bare_environment, command

MAX_AT_ONCE = 2
WALL_FACTOR, WALL_BASE_S = 4.0, 20.0


class Compiler:
    """Compiles modules into a cache, two at a time at most."""

    def __init__(self, cache: ModuleCache) -> None:
        self._cache = cache
        self._slots = anyio.CapacityLimiter(MAX_AT_ONCE)

    async def compile(self, module: bytes, digest: str, grants: tuple[str, ...], *, deterministic: bool) -> CacheEntry:
        """Compile and check a module in a child process.

        Raises:
            BadModuleError: If it is refused, or compiling takes more than its limits.
        """
        check_binary(module)
        part = self._cache.part()
        try:
            async with self._slots:
                report = await self._run_child(module, [profile_name(deterministic=deterministic), str(part), *grants])
            if report.error:
                raise BadModuleError(report.error, hint=report.hint)
            info = ModuleInfo(digest, len(module), report.tasks, report.has_configure, report.imports, report.compile_s)
            return await anyio.to_thread.run_sync(self._admit, part, info, report.sha256, deterministic)
        finally:
            part.unlink(missing_ok=True)

    def _admit(self, part: Path, info: ModuleInfo, sha256: str, deterministic: bool) -> CacheEntry:  # noqa: FBT001 - run_sync passes by position
        return self._cache.admit(part, info, sha256, deterministic=deterministic)

    async def _run_child(self, module: bytes, arguments: list[str]) -> CompileReport:
        limit_s = cpu_limit_s(len(module))
        done: subprocess.CompletedProcess[bytes] | None = None
        with anyio.move_on_after(WALL_FACTOR * limit_s + WALL_BASE_S):
            done = await anyio.run_process(
                command("chimera.sandbox.compile", *arguments), input=module, check=False, env=bare_environment(),
                stderr=subprocess.DEVNULL, start_new_session=True, cwd="/",
            )  # fmt: skip
        if done is None or done.returncode != 0:
            raise BadModuleError(_why(done.returncode if done else -signal.SIGXCPU, limit_s))
        try:
            return msgspec.json.decode(done.stdout, type=CompileReport)
        except msgspec.DecodeError as error:
            raise BadModuleError("compiling it gave no report") from error


def _why(code: int, limit_s: float) -> str:
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"compiling it takes more than the limit of {limit_s:.1f} s of CPU"
    if code == -signal.SIGABRT:
        return "compiling it takes more memory than the limit"
    return f"the compiler failed on it (exit status {code})"
