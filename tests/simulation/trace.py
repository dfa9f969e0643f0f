"""What happened, in the order in which it happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_START_S = 1_000.0


class Trace:
    """Lines of ``seconds  who  what``.

    Args:
        now: Virtual seconds.
        keep: Whether the lines themselves are kept; the digest always is.
    """

    def __init__(self, now: Callable[[], float], *, keep: bool) -> None:
        self._now, self._keep = now, keep
        self._digest = hashlib.blake2b(digest_size=8)
        self.lines: list[str] = []

    def __call__(self, who: str, what: str) -> None:
        """Add a line."""
        line = f"{self._now() - _START_S:9.3f}  {who:<8} {what}"
        self._digest.update(line.encode())
        if self._keep:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """Equal for equal histories."""
        return self._digest.hexdigest()
