"""The embedded nats-server: a child process that is started, watched and stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import msgspec
from anyio.abc import Process

from chimera.clock import Clock, SystemClock
from chimera.errors import BadSettingError, StartError

from .binary import Binary, find_server
from .child import KILL_DEADLINE_S, end, spawn
from .config import render_config
from .context import write_contexts
from .exit import ServerExit, explain, last_lines, port_taken
from .greeting import greet, is_free
from .identity import resident_bytes
from .keys import ensure_keys, seed_path
from .lock import StoreLock
from .private import make_data_folder, make_private_folder, write_private
from .roles import RoleName, roles
from .settings import ServerFiles, ServerSettings

START_DEADLINE_S = 10.0
"""How long a server may take until it answers; a million stored messages take it about one second."""

STOP_DEADLINE_S = 10.0
"""How long a server may take to close its store before it is killed."""

_PORT_DEADLINE_S = 3.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What is known of the server now. Times in seconds; ``resident_bytes`` is ``None`` where nothing tells it."""

    state: Literal["running", "stopped"]
    url: str
    pid: int | None
    version: str
    starts: int
    failures: int
    uptime_s: float
    resident_bytes: int | None
    last_exit: str


@dataclass(slots=True)
class _Run:
    process: Process
    begun: float
    ended: ServerExit | None = None


_BOUNDED_STREAMS = 12
"""About as many streams and buckets with a bound of their size are kept; the others share what is left."""


class EmbeddedServer:
    """A nats-server of our own, on loopback, with JetStream in the data folder and one key per role.

    A supervisor calls ``start``, then ``wait``; when ``wait`` returns it calls ``start`` again. The port stays the same
    over restarts, also when a free one was chosen. No task runs in the background.

    Start it in a thread that lives as long as the process (the event loop's): on Linux the kernel ends the server when
    the thread that started it ends.
    """

    def __init__(self, settings: ServerSettings, *, clock: Clock | None = None) -> None:
        host = "127.0.0.1" if settings.host == "localhost" else settings.host
        self._settings = dataclasses.replace(settings, data_dir=settings.data_dir.absolute(), host=host)
        self._clock = clock or SystemClock()
        self.files = ServerFiles(self._settings.data_dir)
        self.name = f"chimera-{hashlib.sha256(os.fsencode(self.files.data_dir)).hexdigest()[:12]}"
        self._lock = StoreLock(self.files.lock, self.files.config, self._clock)
        self._port = settings.port
        self._run: _Run | None = None
        self._version = ""
        self._stopping = False
        self._starts = self._failures = 0
        self._last_exit = ""

    @property
    def stream_bytes(self) -> int:
        """What one bounded stream may reserve of the disk, so that all of them together fit."""
        return self._settings.max_file_bytes // _BOUNDED_STREAMS

    @property
    def url(self) -> str:
        """Where clients connect. Known once it was started; the same after every restart."""
        host = self._settings.host
        return f"nats://[{host}]:{self._port}" if ":" in host else f"nats://{host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Number of the server's process while it lives."""
        run = self._run
        return run.process.pid if run is not None and run.process.returncode is None else None

    def seed_path(self, role: RoleName) -> Path:
        """The seed file that logs a client in as ``role``."""
        return seed_path(self.files.secrets, role)

    def inbox_prefix(self, role: RoleName) -> str:
        """Prefix of the reply subjects that ``role`` may use."""
        return roles()[role].inbox_prefix

    async def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            BadSettingError: If a setting can't work: the host, the port, the folder, the program.
            StartError: If the port or the folder is taken, no program is found, or it does not answer in time.
        """
        if self.pid is not None:
            raise StartError("the embedded nats-server runs already")
        self._settings.check()
        self._stopping = False
        try:
            await self._start()
        except BaseException:
            await self._end(KILL_DEADLINE_S)
            raise

    async def wait(self) -> ServerExit:
        """How the present run ended, as soon as it did. ``wanted`` tells a stop from a death.

        Raises:
            StartError: If it was never started.
        """
        run = self._present_run()
        await run.process.wait()
        return await self._note_end(run)

    async def stop(self, timeout_s: float = STOP_DEADLINE_S) -> None:
        """Let the server close its store (SIGTERM), and kill it after ``timeout_s``. Does nothing when it does not run.

        Not by lame duck mode: that gives clients time to move to another server, and there is none.
        """
        self._stopping = True
        await self._end(timeout_s)

    def statistics(self) -> ServerStatistics:
        """What is known now."""
        pid, run = self.pid, self._run
        return ServerStatistics(
            state="stopped" if pid is None else "running", url=self.url, pid=pid, version=self._version,
            starts=self._starts, failures=self._failures,
            uptime_s=0.0 if pid is None or run is None else self._clock.monotonic() - run.begun,
            resident_bytes=None if pid is None else resident_bytes(pid), last_exit=self._last_exit,
        )  # fmt: skip

    async def _start(self) -> None:
        binary = await anyio.to_thread.run_sync(find_server, self._settings.server)
        self._version = ".".join(map(str, binary.version))
        await anyio.to_thread.run_sync(self._make_folders)
        await self._lock.acquire()
        await self._await_port()
        await anyio.to_thread.run_sync(self._write_config)
        with anyio.CancelScope(shield=True):
            self._run = await self._spawn(binary)
        self._port = await self._await_answer(self._present_run())
        await anyio.to_thread.run_sync(write_contexts, self.files.data_dir, self.url)

    def _present_run(self) -> _Run:
        if self._run is None:
            raise StartError("the embedded nats-server was never started")
        return self._run

    def _make_folders(self) -> None:
        files = self.files
        make_data_folder(files.data_dir)
        for folder in (files.nats, files.ports, files.jetstream, files.log.parent):
            make_private_folder(folder)

    def _write_config(self) -> None:
        known = roles()
        keys = ensure_keys(self.files.secrets, known)
        text = render_config(self._settings, name=self.name, port=self._port, users=known.values(), public_keys=keys)
        write_private(self.files.config, text.encode())
        for stale in self.files.ports.glob("*.ports"):
            stale.unlink(missing_ok=True)

    async def _await_port(self) -> None:
        """A port that was ours a moment ago gets a moment to become free: a reconnecting client can sit on it."""
        if not self._port:
            return
        host, port = self._settings.host, self._port
        deadline = self._clock.monotonic() + (_PORT_DEADLINE_S if self._starts else 0.0)
        try:
            while not is_free(host, port):
                if self._clock.monotonic() >= deadline:
                    raise port_taken(self._settings, port, by_nats=await greet(host, port) is not None)
                await self._clock.sleep(_POLL_S)
        except OSError as error:
            raise BadSettingError(f"nats.port: can't listen on {host}:{port}: {error.strerror}") from error

    async def _spawn(self, binary: Binary) -> _Run:
        command = [str(binary.path), "-c", str(self.files.config)]
        process = await spawn(command, stderr=self.files.stderr, pass_fd=self._lock.descriptor)
        self._starts += 1
        await anyio.to_thread.run_sync(self._lock.note_server, process.pid)
        return _Run(process, self._clock.monotonic())

    async def _await_answer(self, run: _Run) -> int:
        deadline = self._clock.monotonic() + START_DEADLINE_S
        while self._clock.monotonic() < deadline:
            if run.process.returncode is not None:
                raise explain(self._settings, await self._note_end(run))
            port = self._port or await anyio.to_thread.run_sync(self._read_port, run.process.pid)
            greeting = await greet(self._settings.host, port) if port else None
            if greeting is not None and greeting.server_name == self.name:
                return port
            await self._clock.sleep(_POLL_S)
        raise StartError(f"nats-server did not answer within {START_DEADLINE_S:g} s", hint=f"see {self.files.log}")

    def _read_port(self, pid: int) -> int:
        """The port that the server wrote down; 0 while it has not, or not to the end."""
        for path in self.files.ports.glob(f"*_{pid}.ports"):
            with contextlib.suppress(OSError, msgspec.DecodeError, KeyError, IndexError, ValueError):
                written = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
                return int(written["nats"][0].rpartition(":")[2])
        return 0

    async def _end(self, timeout_s: float) -> None:
        """End the run, if there is one, and let the lock go; whoever cancels us waits."""
        with anyio.CancelScope(shield=True):
            if self._run is not None:
                await end(self._run.process, timeout_s)
                await self._note_end(self._run)
        self._lock.release()

    async def _note_end(self, run: _Run) -> ServerExit:
        wanted = self._stopping
        lines = await anyio.to_thread.run_sync(last_lines, self.files, run.process.pid)
        if run.ended is None:
            run.ended = ServerExit(run.process.returncode, wanted, lines)
            self._last_exit = str(run.ended)
            self._failures += not wanted
        return run.ended
