"""A real browser without a window, for pages that people look at."""

from __future__ import annotations

import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 60.0
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser made of a page: its document, what its console said, and a picture of it."""

    dom: str
    console: list[str]
    picture: Path


def find_browser() -> str:
    """The browser's path; without one the test is skipped, but in CI it fails: there it must be installed."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        reason = f"none of {', '.join(NAMES)} is on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


async def look(url: str, folder: Path, name: str, *, width: int = 1280, height: int = 3200) -> Seen:
    """Open a page, and keep a picture of it in the folder."""
    browser, picture = find_browser(), folder / f"{name}.png"
    dom, first = await _run(browser, folder, "--dump-dom", url)
    _, second = await _run(browser, folder, f"--screenshot={picture}", f"--window-size={width},{height}", url)
    console = [line for line in (first + second).splitlines() if ":CONSOLE" in line]
    return Seen(dom, console, picture)


async def _run(browser: str, folder: Path, *arguments: str) -> tuple[str, str]:
    common = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
    )  # fmt: skip
    with anyio.fail_after(_PATIENCE_S):
        done = await anyio.run_process([browser, *common, *arguments])
    return done.stdout.decode(), done.stderr.decode(errors="replace")


def colours(picture: Path) -> int:
    """How many different bytes the pixels of a PNG have: a blank page has a handful."""
    data = picture.read_bytes()
    assert data.startswith(_SIGNATURE)
    at, pixels = len(_SIGNATURE), b""
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        pixels += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    return len(set(zlib.decompress(pixels)))
