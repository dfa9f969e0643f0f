"""Compiled modules on disk, found by what they were made from, trusted only if we made them.

A compiled module is machine code: one wrong bit is a crash or a wrong answer. So each has a note (what the module is,
and the sha256 of its code) under an HMAC whose key is in the same folder, readable by its owner only; the process that
runs the code compares the hash. Files are written once and renamed into place.

    key                  32 random bytes, 0600
    <digest>.wasm        the module, checked against its name when read
    <entry>.cwasm/.json  the code and its note; entry = sha256(digest, wasmtime, profile, processor)
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chimera.errors import BadSettingError

from .contract import ModuleInfo
from .engine import fingerprint

STALE_S = 3600.0


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A compiled module: what it is, where it lies, and what it must hash to."""

    info: ModuleInfo
    path: Path
    sha256: str


class _Note(msgspec.Struct, frozen=True):
    entry: str
    sha256: str
    info: ModuleInfo


class ModuleCache:
    """The folder. Its methods block on the disk: call them from a worker thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = b""

    def open(self) -> None:
        """Make the folder and its key.

        Raises:
            BadSettingError: If the folder cannot be made or belongs to somebody else.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.getuid():
                raise BadSettingError(f"the module cache {self._folder} belongs to another user")
            self._folder.chmod(0o700)
            self._key = self._read_key()
            self._sweep()
        except OSError as error:
            raise BadSettingError(f"the module cache {self._folder} cannot be used: {error.strerror}") from error

    def keep_module(self, module: bytes) -> str:
        """Store a module under its sha256, which is returned."""
        digest = hashlib.sha256(module).hexdigest()
        path = self._folder / f"{digest}.wasm"
        if self.module(digest) is None:
            self._write(path, module)
        return digest

    def module(self, digest: str) -> bytes | None:
        """A stored module, or ``None`` if it is not there or no longer what its name says."""
        try:
            data = (self._folder / f"{digest}.wasm").read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def find(self, digest: str, *, deterministic: bool) -> CacheEntry | None:
        """The compiled form, if its note is genuine."""
        entry = self._entry(digest, deterministic=deterministic)
        path = self._folder / f"{entry}.cwasm"
        try:
            mac, _, text = (self._folder / f"{entry}.json").read_bytes().partition(b"\n")
            if not hmac.compare_digest(mac, self._mac(text)) or not path.is_file():
                return None
            note = msgspec.json.decode(text, type=_Note)
        except (OSError, msgspec.DecodeError):
            return None
        if note.entry != entry or note.info.digest != digest:
            return None
        return CacheEntry(note.info, path, note.sha256)

    def part(self) -> Path:
        """Where a compiler may write."""
        return self._folder / f"{secrets.token_hex(8)}.part"

    def admit(self, part: Path, info: ModuleInfo, sha256: str, *, deterministic: bool) -> CacheEntry:
        """Take a finished file in under its final name."""
        entry = self._entry(info.digest, deterministic=deterministic)
        path = self._folder / f"{entry}.cwasm"
        part.chmod(0o600)
        part.replace(path)
        text = msgspec.json.encode(_Note(entry, sha256, info))
        self._write(self._folder / f"{entry}.json", self._mac(text) + b"\n" + text)
        return CacheEntry(info, path, sha256)

    def discard(self, entry: CacheEntry) -> None:
        """Forget a compiled form that turned out bad."""
        for path in (entry.path.with_suffix(".json"), entry.path):
            path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what compilers left behind that were killed; younger files may be another process's."""
        for leftover in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > STALE_S:
                    leftover.unlink()

    def _entry(self, digest: str, *, deterministic: bool) -> str:
        return hashlib.sha256(f"{digest}\n{fingerprint(deterministic=deterministic)}".encode()).hexdigest()

    def _mac(self, text: bytes) -> bytes:
        return hmac.new(self._key, text, hashlib.sha256).hexdigest().encode()

    def _read_key(self) -> bytes:
        path = self._folder / "key"
        with suppress(FileExistsError):
            # Linked into place whole, so that two processes that start together agree on one key.
            part = self.part()
            self._write_new(part, secrets.token_bytes(32))
            try:
                path.hardlink_to(part)
            finally:
                part.unlink()
        path.chmod(0o600)
        return path.read_bytes()

    def _write(self, path: Path, data: bytes) -> None:
        part = self.part()
        self._write_new(part, data)
        part.replace(path)

    def _write_new(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)  # else a power cut can leave a file of this name without its bytes
