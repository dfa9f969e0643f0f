"""The vocabulary of fields: ids, shares, durations, each with its bounds in the type."""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta

TOKEN_PATTERN = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"
"""Ids that become subject tokens match this: no dots, no wildcards, no control characters.

The lookahead refuses the newline that ``$`` alone lets pass in Python; it reads the same in JSON Schema's dialect.
"""

MAX_BODY_BYTES = 1 << 20
"""Largest body accepted on any face, in bytes."""

MAX_DEPTH = 32
"""Deepest nesting accepted in any body."""

Token = Annotated[str, Meta(pattern=TOKEN_PATTERN, description="an id: 1 to 64 of A-Z a-z 0-9 _ -")]
Share = Annotated[float, Meta(ge=0.0, le=1.0, description="a ratio between 0 and 1")]
Count = Annotated[int, Meta(ge=0, description="a count")]
Milliseconds = Annotated[float, Meta(ge=0.0, description="a duration in milliseconds")]
DeadlineMs = Annotated[int, Meta(ge=1, le=600_000, description="how long the caller waits, in milliseconds")]
ReleaseNumber = Annotated[int, Meta(ge=1, description="number of an immutable release, counted from 1 per agent")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="sha256, 64 hex digits")]
Page = Annotated[int, Meta(ge=1, le=1000, description="most rows to return")]
Document = dict[str, Any]
"""A JSON object whose shape belongs to the agent, not to us."""

_token = re.compile(TOKEN_PATTERN + r"\Z")


def is_token(text: str) -> bool:
    """True if ``text`` may become one token of a subject. The only place that decides it."""
    return _token.match(text) is not None
