"""Proposals of the optimizer: what of them can be put on trial as a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chimera.errors import UnavailableError
from subjects.agent import Deploy


def deploy_of(agent: str, proposal: Mapping[str, Any], share: float) -> Deploy | None:
    """The deploy that puts a proposed ``genome`` and ``limits`` on trial, or ``None`` if it has neither.

    A proposal never goes live at once: it is a candidate with at most ``share`` of traffic, and the gate decides.

    Raises:
        UnavailableError: If the proposal is malformed.
    """
    change = {name: proposal[name] for name in ("genome", "limits") if proposal.get(name)}
    if not change:
        return None
    try:
        return msgspec.convert({"name": agent, "share": share, "note": "proposed by the optimizer", **change}, Deploy)
    except msgspec.ValidationError as error:
        raise UnavailableError(f"the optimizer's proposal can't be used: {error}") from error
