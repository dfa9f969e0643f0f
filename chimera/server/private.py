"""Files that nobody else may read, and that a power cut leaves either old or new."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path

from chimera.errors import BadSettingError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_data_folder(path: Path) -> None:
    """Make the data folder 0700.

    One that exists is closed to others too, except where that is not ours to do: a folder of another owner (a mounted
    volume) or a sticky one (``/tmp``). The folders inside are private in any case.

    Raises:
        BadSettingError: If it can't be made or written.
    """
    with _named(path):
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        state = path.stat()
        if state.st_uid == os.geteuid() and not state.st_mode & stat.S_ISVTX:
            path.chmod(FOLDER_MODE)
        _try_writing(path)


def make_private_folder(path: Path) -> None:
    """Make a folder of ours, 0700, or close an existing one to others.

    Raises:
        BadSettingError: If it can't be made or closed.
    """
    with _named(path):
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path.chmod(FOLDER_MODE)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step, 0600: write, fsync, rename, fsync the folder.

    Raises:
        BadSettingError: If it can't be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _named(path):
        try:
            _write_new(beside, data)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def read_private(path: Path) -> bytes | None:
    """The file's bytes, or ``None`` if there is none. One that others could read is closed to them first.

    Raises:
        BadSettingError: If it can't be read.
    """
    with _named(path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return None
        if stat.S_IMODE(mode) & 0o077:
            path.chmod(FILE_MODE)
        return path.read_bytes()


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_writing(folder: Path) -> None:
    probe = folder / f".probe.{secrets.token_hex(4)}"
    probe.touch(FILE_MODE, exist_ok=False)
    probe.unlink()


@contextlib.contextmanager
def _named(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise BadSettingError(
            f"node.data_dir: can't use {path}: {(error.strerror or str(error)).lower()}",
            hint="give a folder that this user may write with node.data_dir",
        ) from error
