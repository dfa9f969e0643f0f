"""Waiting for what a real process does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Wait for ``condition``, or fail after ``timeout_s``."""
    with anyio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await anyio.sleep(0.005)
