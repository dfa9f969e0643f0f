"""How far a stream is projected, and how it moves: the same arithmetic for every backend."""

from __future__ import annotations

from typing import Any, NamedTuple


class StreamMark(NamedTuple):
    """A row of the table ``streams``.

    Attributes:
        position: Last sequence projected.
        high_water: Highest sequence ever seen acknowledged.
        generation: Changes whenever the stream has gone back.
        base: Sequences up to here were there before this generation began.
    """

    position: int = 0
    high_water: int = 0
    generation: str = ""
    base: int = 0

    def saved(self, last: int) -> StreamMark:
        """After records up to ``last`` were saved; a late batch moves nothing back."""
        return self._replace(position=max(self.position, last), high_water=max(self.high_water, last))

    def marked(self, last_seq: int, generation: str = "") -> StreamMark:
        """After ``last_seq`` was seen; a new generation says that the stream has gone back to it.

        Its sequences will be used again from there, so position and mark go back too. When the mark is that low
        already, another node has told of it first.
        """
        if generation and generation != self.generation and last_seq < self.high_water:
            return StreamMark(min(self.position, last_seq), last_seq, generation, last_seq)
        return self._replace(high_water=max(self.high_water, last_seq))

    def parameters(self, name: str) -> dict[str, Any]:
        """What ``statements.SAVE_STREAM`` takes, for the stream ``name``."""
        return {"name": name, **self._asdict()}
