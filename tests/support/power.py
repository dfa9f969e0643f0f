"""A disk whose power can be cut: ext4 on a loop device, shut down without writing what is not on it yet.

The ioctl is the one that file system developers test with (``EXT4_IOC_SHUTDOWN`` with ``NOLOGFLUSH``, see
linux/fs/ext4/ioctl.c): from one moment on nothing reaches the device, neither dirty pages nor the journal. What was not
synced is gone. It says nothing of disks that lie about flushes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_GOING_DOWN = 0x8004587D
"""``_IOR('X', 125, __u32)``."""

_NO_LOG_FLUSH = 2
_TOOLS = ("mkfs.ext4", "losetup", "mount", "umount")
_UNMOUNT_S = 20.0


class NoPowerSwitch(Exception):  # noqa: N818 - not a failure: a reason to skip
    """Why no power can be cut here."""


class Disk:
    """A mounted file system in an image file.

    Args:
        folder: Holds the image and the mount point.
    """

    def __init__(self, folder: Path) -> None:
        self.mount_point = folder / "disk"
        self._image = folder / "disk.img"
        self._device = ""

    def attach(self, size: int = 512 << 20) -> None:
        """Make the file system and mount it.

        Raises:
            NoPowerSwitch: If that is not possible here, with the exact reason.
        """
        self.mount_point.mkdir()
        with self._image.open("wb") as image:
            image.truncate(size)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
        self.mount()

    def mount(self) -> None:
        """As after the power came back: the file system's own journal is replayed."""
        _run("mount", "-t", "ext4", self._device, str(self.mount_point))

    def cut(self) -> None:
        """From now on nothing reaches the device."""
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _GOING_DOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Take it off; whoever had files open there must have ended, or ends soon."""
        deadline = time.monotonic() + _UNMOUNT_S
        while True:
            done = subprocess.run(["umount", str(self.mount_point)], capture_output=True, text=True, check=False)
            if done.returncode == 0 or not os.path.ismount(self.mount_point):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"can't unmount: {done.stderr}")
            time.sleep(0.05)

    def detach(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        if os.path.ismount(self.mount_point):
            subprocess.run(["umount", "--lazy", str(self.mount_point)], capture_output=True, check=False)
        if self._device:
            subprocess.run(["losetup", "--detach", self._device], capture_output=True, check=False)
        self._image.unlink(missing_ok=True)


@contextmanager
def disk(folder: Path) -> Generator[Disk]:
    """A disk that is gone afterwards.

    Raises:
        NoPowerSwitch: If there can't be one here, with the exact reason.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoPowerSwitch("cutting the power needs Linux and root (loop device, mount, ext4 shutdown)")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise NoPowerSwitch(f"cutting the power needs {', '.join(missing)}")
    made = Disk(folder)
    try:
        made.attach()
        yield made
    finally:
        made.detach()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoPowerSwitch(f"{' '.join(command[:2])} failed here: {done.stderr.strip()}")
    return done.stdout
