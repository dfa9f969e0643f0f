"""What ships: each guest's module and manifest, read from beside this file and checked against the recorded digest."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from subjects.agent import Manifest

ROOM = Path(__file__).parent
DIGESTS = "digests.toml"
SERVICE_GUESTS = ("sentiment", "echo")
HOSTILE_GUESTS = (
    "huge_output", "infinite_loop", "lying_alloc", "lying_pointer", "memory_bomb",
    "missing_export", "slow_start", "stack_overflow", "trap", "unknown_import",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShippedGuest:
    """A module and what it says about itself. ``digest`` is the module's sha256, as recorded when it was built."""

    name: str
    digest: str
    module: bytes
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class GuestFiles:
    """Where a guest's parts lie, relative to the room."""

    sources: str
    manifest: str
    module: str


class GuestFileError(Exception):
    """A shipped guest is missing, unreadable or not the one that was built. The message says what to do."""


def shipped() -> list[ShippedGuest]:
    """The agents that a node may serve.

    Raises:
        GuestFileError: If a file is missing or differs from what was built.
    """
    return [shipped_guest(name) for name in SERVICE_GUESTS]


def hostile_guests() -> list[ShippedGuest]:
    """The guests that break the rules, each in its own way: for tests of a sandbox, never to be served.

    Raises:
        GuestFileError: If a file is missing or differs from what was built.
    """
    return [shipped_guest(name) for name in HOSTILE_GUESTS]


def shipped_guest(name: str) -> ShippedGuest:
    """One guest by name.

    Raises:
        GuestFileError: If there is none of that name, or a file is missing or differs from what was built.
    """
    if name not in SERVICE_GUESTS + HOSTILE_GUESTS:
        raise GuestFileError(f"no guest {name!r} is shipped; there are {', '.join(SERVICE_GUESTS + HOSTILE_GUESTS)}")
    return load_guest(ROOM, name)


def guest_files(name: str) -> GuestFiles:
    """Where the parts of a guest lie."""
    if name in HOSTILE_GUESTS:
        return GuestFiles(f"hostile/{name}.c", f"hostile/{name}.json", f"hostile/{name}.wasm")
    return GuestFiles(f"{name}/*.c", f"{name}/manifest.json", f"{name}/{name}.wasm")


def load_guest(room: Path, name: str) -> ShippedGuest:
    """Read and verify one guest from a folder laid out like this room.

    Raises:
        GuestFileError: If a file is missing, the manifest is wrong, or the module is not the recorded one.
    """
    files = guest_files(name)
    module = _read(room / files.module)
    recorded = recorded_digests(room).get(files.module)
    digest = hashlib.sha256(module).hexdigest()
    if digest != recorded:
        raise GuestFileError(
            f"{room / files.module} has sha256 {digest}, recorded is {recorded or 'none'}: "
            "install again, or rebuild with: python -m edge.guests.build"
        )
    return ShippedGuest(name, digest, module, read_manifest(room / files.manifest))


def read_manifest(path: Path) -> Manifest:
    """A manifest file, validated.

    Raises:
        GuestFileError: If it is missing or does not fit the type.
    """
    try:
        return msgspec.json.decode(_read(path), type=Manifest)
    except msgspec.DecodeError as error:
        raise GuestFileError(f"{path} is no manifest: {error}") from error


def recorded_digests(room: Path) -> dict[str, str]:
    """Module file to sha256, as written when the modules were built.

    Raises:
        GuestFileError: If the record is missing or is no TOML.
    """
    try:
        content = tomllib.loads(_read(room / DIGESTS).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GuestFileError(f"{room / DIGESTS} is unreadable: {error}") from error
    recorded: dict[str, str] = content.get("sha256", {})
    return recorded


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GuestFileError(f"{path} can't be read: {error.strerror}; install again") from error
