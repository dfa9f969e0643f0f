"""Why an experiment went as it did: every decision made again from the log, and compared."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.gating.comparisons import compare
from actors.gating.records import Entry, Opened, Ruled
from actors.gating.trial import BY_HAND, OVERTAKEN, Trial
from actors.inference.ratio import SampleRatio
from chimera.bus.contract import Bus
from chimera.errors import NoExperimentError, UnavailableError
from subjects.experiment import Evidence, Explanation, Step

from .loop_log import LOG


async def explain(bus: Bus, id_: str) -> Explanation:
    """Read an experiment's entries and make its decisions again.

    Raises:
        NoExperimentError: If the log holds no such experiment.
        UnavailableError: If the log can't be read.
    """
    entries: list[Any] = []
    async with bus.read(LOG.stream) as messages:
        async for message in messages:
            try:
                entries.extend(entry for entry in LOG.unpack(message.data) if getattr(entry, "id", "") == id_)
            except msgspec.DecodeError as error:
                raise UnavailableError(f"message {message.seq} of {LOG.stream} can't be read: {error}") from error
    if not entries or not isinstance(entries[0], Opened):
        raise NoExperimentError(f"there is no experiment '{id_}' in the log")
    return retrace(entries[0], entries[1:])


def retrace(opened: Opened, entries: list[Entry]) -> Explanation:
    """Fold the entries, and before each decision ask the rule what it says. Pure."""
    trial, steps = Trial(opened, compare, SampleRatio), list[Step]()
    for entry in entries:
        if isinstance(entry, Ruled):
            steps.append(_again(trial, entry))
        trial.apply(entry)
    return Explanation(
        id=opened.id, agent=opened.agent, state=trial.state, steps=steps, exact=all(step.same for step in steps),
        words=[_begun(opened), *(_words(step) for step in steps), f"It is {trial.state} now."],
    )  # fmt: skip


def _again(trial: Trial, entry: Ruled) -> Step:
    recorded = entry.decision
    if recorded.reason.startswith((BY_HAND, OVERTAKEN)):
        found = trial.decide_otherwise(recorded.verdict, recorded.by, recorded.reason, recorded.at)
    else:
        found = trial.decide(recorded.at)
    decision, evidence = found or (msgspec.structs.replace(recorded, verdict="watch", reason="nothing was due"), [])
    same = decision == recorded and evidence == entry.evidence
    return Step(recorded=recorded, recomputed=decision, same=same, evidence=evidence)


def _begun(opened: Opened) -> str:
    releases = ", ".join(map(str, opened.candidates))
    stages = " then ".join(opened.plan.stages)
    return (
        f"Release {releases} of {opened.agent} was tried against {opened.incumbent} by {stages}; to go live its "
        f"{opened.plan.primary.name} needed an e-value of {1 / opened.level:.4g} (level {opened.level:.3g})."
    )


def _words(step: Step) -> str:
    one = step.recorded
    told = "; ".join(_figure(evidence) for evidence in step.evidence)
    again = "made again from the log, it is the same" if step.same else "made again from the log, it is NOT the same"
    return f"After entry {one.seq} {one.by} decided: {one.verdict} ({one.reason}). {told}. {again}."


def _figure(evidence: Evidence) -> str:
    low, high = evidence.interval.low, evidence.interval.high
    effect = "no effect known yet" if evidence.effect is None else f"{evidence.effect:+.4g}"
    between = "" if low is None or high is None else f" [{low:+.4g}, {high:+.4g}]"
    return (
        f"{evidence.metric}: {effect}{between} over {evidence.n_live}+{evidence.n_candidate} messages, "
        f"e better {evidence.e_better:.3g}, e worse {evidence.e_worse:.3g}"
    )
