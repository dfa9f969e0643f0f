"""The wire form of an error: RFC 9457 problem details with a stable code and a hint."""

from __future__ import annotations

from typing import Any, Literal

from ._message import Reply

Executed = Literal["no", "maybe"]
"""Whether the work may have run: ``no`` means that a retry is safe."""

PROBLEM_TYPE = "urn:chimera:problem:"
"""Prefix of the ``type`` member; the code follows."""


class Problem(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """One error, ready for any face.

    ``type``, ``title``, ``status``, ``detail`` and ``instance`` are RFC 9457 section 3.1; the rest are extensions.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    executed: Executed
    hint: str = ""
    instance: str = ""
    retry_after_s: float | None = None
    data: dict[str, Any] | None = None
