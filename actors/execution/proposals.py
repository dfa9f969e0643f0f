"""Proposals of the optimizer: what of them can be put through the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chimera.errors import UnavailableError
from subjects.experiment import CreateExperiment


def experiment_of(agent: str, proposal: Mapping[str, Any]) -> CreateExperiment | None:
    """The experiment that tries a proposed ``genome``, or ``None`` if there is none.

    A proposal never goes live by itself: the gate decides.

    Raises:
        UnavailableError: If the proposal is malformed.
    """
    if not proposal.get("genome"):
        return None
    try:
        return msgspec.convert(
            {"agent": agent, "genomes": [proposal["genome"]], "proposer": "optimizer",
             "note": "proposed by the optimizer"},
            CreateExperiment,
        )  # fmt: skip
    except msgspec.ValidationError as error:
        raise UnavailableError(f"the optimizer's proposal can't be used: {error}") from error
