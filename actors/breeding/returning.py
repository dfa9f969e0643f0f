"""The way back: what a return to the release before the live one would change, and the return itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from chimera.errors import ChimeraError, ConflictError, NoReleaseError
from subjects.agent import AgentView, Genes, Release, Rollback, ShowAgent
from subjects.experiment import ExperimentList, Experiments, StopExperiment
from subjects.genome import PreviewReturn, Return, ReturnView

from .notes import genome_in

_HOW = "POST /api/evolution/rollback, or: nats req chimera.evolver.rollback"


class WayBack:
    """Previews and takes the way back to the previous release, whose instances are warm.

    Args:
        ask: Asks the agent actor and the optimizer.
        halt: Ends what this layer does to an agent; is told why.
    """

    def __init__(self, ask: Callable[[Any], Awaitable[Any]], halt: Callable[[str, str], Awaitable[None]]) -> None:
        self._ask, self._halt = ask, halt

    async def preview(self, message: PreviewReturn) -> ReturnView:
        """What a return would do; nothing is changed.

        Raises:
            NoAgentError: If there is no such agent.
        """
        view: AgentView = await self._ask(ShowAgent(name=message.agent))
        return shown(view, done=False)

    async def go(self, message: Return) -> ReturnView:
        """Return; whoever changes the same agent is stopped first, so that the release does not come back.

        A first release has none before it: then the candidate is dropped, if there is one.

        Raises:
            NoAgentError: If there is no such agent.
            NoReleaseError: If there is neither a release to return to nor a candidate.
            ConflictError: If another release is live than the caller expects.
        """
        view: AgentView = await self._ask(ShowAgent(name=message.agent))
        planned = shown(view, done=False)
        if not planned.how:
            raise NoReleaseError(planned.reason)
        if message.expect_live not in (None, view.live):
            raise ConflictError(f"release {view.live} of '{view.name}' is live, not {message.expect_live}")
        aim = f"return to release {planned.target}" if planned.target else f"drop release {planned.candidate}"
        why = f"{aim}{message.note and ': ' + message.note}"
        await self._halt(message.agent, why)
        await self._stop_experiments(message, why)
        now = await self._drop_candidate(message, why)
        reason = f"release {planned.candidate} is on trial no more; release {now.live} was live before, too"
        if planned.target is not None:
            now = await self._ask(
                Rollback(name=now.name, expect_live=planned.live, expect_candidate=0, by=message.by, note=why)
            )
            reason = f"release {now.live} is live, as it was before"
        return replace(planned, live=now.live, candidate=None, done=True, how="", reason=reason)

    async def _drop_candidate(self, message: Return, why: str) -> AgentView:
        """The agent without a candidate, whoever dropped it."""
        view: AgentView = await self._ask(ShowAgent(name=message.agent))
        if view.candidate is None:
            return view
        return await self._ask(Rollback(
            name=view.name, expect_live=view.live, expect_candidate=view.candidate.release, by=message.by, note=why
        ))  # fmt: skip

    async def _stop_experiments(self, message: Return, why: str) -> None:
        try:
            running: ExperimentList = await self._ask(Experiments(agent=message.agent, state="running"))
            for one in running.experiments:
                await self._ask(StopExperiment(id=one.id, act="stop", by=message.by, note=why))
        except ChimeraError as error:
            if error.code not in {"not-running", "layer-not-running", "conflict"}:
                raise


def shown(view: AgentView, *, done: bool) -> ReturnView:
    """An agent's way back as it is told."""
    releases = {release.number: release for release in view.releases}
    target = releases.get(view.previous) if view.previous is not None else None
    candidate = view.candidate.release if view.candidate else None
    live = releases.get(view.live)
    if target is None:
        reason = f"'{view.name}' has no release before {view.live} to return to"
        reason += f"; release {candidate}, which is on trial, is dropped" if candidate is not None else ""
    else:
        reason = f"release {target.number} was live before {view.live}, and its instances are warm"
    return ReturnView(
        agent=view.name, live=view.live, target=target.number if target else None, candidate=candidate,
        genome=genome_in(target.note) if target else "", changes=changes(live, target), done=done,
        how=_HOW if target or candidate is not None else "", reason=reason,
    )  # fmt: skip


def changes(live: Release | None, target: Release | None) -> Genes:
    """The genes that a change of release sets, with the value they get."""
    if live is None or target is None:
        return {}
    return {name: value for name, value in target.genome.items() if live.genome.get(name) != value}
