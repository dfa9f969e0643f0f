"""Auto-tune and proposals: what people and layers ask for, each tune driven in a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import anyio
from msgspec.structs import replace

from actors.tuning import Point, Space, Study, StudyPlan
from chimera.clock import Clock
from chimera.errors import BadGenomeError, BadMessageError, ChimeraError, ConflictError, DeadlineError
from subjects.agent import AgentView, Release, ShowAgent
from subjects.optimizer import (
    AutoTune,
    Configure,
    GetStatus,
    GetTune,
    OptimizationStatus,
    Proposal,
    Propose,
    Settings,
    StopTune,
    Tune,
    TuneEvent,
)

from .gatekeeper import Log
from .observing import check_metric
from .primary import Primary
from .recorded import Recorder
from .tunebook import TuneBook
from .tunedrive import Drive, Hold
from .tunefacts import fact_of, words_of
from .tunegate import Gate
from .tunelog import Configured, Halted, Started, TuneEntry
from .tuneround import searched, study_plan
from .tunestate import TuneFold

STOP_S = 20.0
"""How long the answer to a stop waits for the end."""

_PROPOSE_S = 9.0
Expects = Callable[[str, Space, Point], float | None]


def _nothing(_agent: str, _space: Space, _point: Point) -> None:
    """Nobody expects anything."""


class Tuner:
    """Every auto-tune: each is the fold of its log, so that a tune goes on wherever the log is read.

    Args:
        log: Holds the entries.
        ask: Asks the agent actor.
        gate: Runs experiments; the only way to the live release.
        recorder: Holds recorded tasks.
        clock: Time.
        report: Writes an event.
        tell: Publishes a fact under an id that makes it repeatable.
        spawn: Runs a coroutine function in the background.
        expects: What the objective is expected to be for an agent at a point of a space, if anybody knows.
        hold: See ``Drive``.
    """

    def __init__(
        self, *, log: Log, ask: Callable[[Any], Awaitable[Any]], gate: Gate, recorder: Recorder, clock: Clock,
        report: Callable[..., Any], tell: Callable[[Any, str], Awaitable[None]], spawn: Callable[..., None],
        expects: Expects = _nothing, hold: Hold = nullcontext,
    ) -> None:  # fmt: skip
        self._log, self._ask, self._gate, self._recorder = log, ask, gate, recorder
        self._clock, self._report, self._tell, self._spawn = clock, report, tell, spawn
        self.book, self._primary = TuneBook(), Primary(recorder)
        self._expects, self._hold = expects, hold
        self._drives: dict[str, Drive] = {}
        self._starting = anyio.Lock()

    def apply(self, entry: TuneEntry) -> None:
        """Take an entry that is stored; at the start, each that the log holds."""
        self.book.apply(entry)

    def resume(self) -> None:
        """After the log was read: go on with every tune that has not ended."""
        for fold in self.book.running():
            self._begin(fold)

    def oldest(self) -> tuple[int, int] | None:
        """The outcome and the judgement behind which all lies that the tunes under way work on; ``None`` without any.

        Whoever reads the streams again after a restart begins there or earlier.
        """
        begun = [fold.round.begun for fold in self.book.running() if fold.rounds]
        if not begun:
            return None
        first, heard = min(one.first for one in begun), min(one.heard for one in begun)
        return max(0, first - 1), max(0, heard - 1)

    # -- what is asked for ---------------------------------------------------------------------------------------------

    async def auto_tune(self, message: AutoTune) -> Tune:
        """Begin a tune; while one is under way for the agent, it is that one.

        Raises:
            NoAgentError: If there is no such agent.
            BadGenomeError: If nothing of its genome can be searched, or not what is named.
            BadMessageError: If the metric is a quantile or can not be compared.
            ConflictError: If the id is another tune's, or the agent is retired.
        """
        _check_metric(message)
        async with self._starting:
            fold = self.book.asked(message)
            if fold is None:
                release = await self._live(message.agent)
                at, settings = self._clock.time(), self.book.settings
                message = replace(message, metric=self._primary.metric(message.metric, release.manifest))
                id_ = message.id or self._id(at)
                await self._write(Started(
                    id=id_, at=at, request=message, algorithm=message.algorithm or settings.algorithm,
                    threshold=settings.convergence_threshold, incumbent=release.number, base=release.genome,
                    manifest=release.manifest, tune=searched(release.manifest, release.genome, message.parameters),
                ))  # fmt: skip
                fold = self.book.find(id_)
        return fold.show()

    async def tune(self, message: GetTune) -> Tune:
        """One tune as it stands.

        Raises:
            NoTuneError: If there is none.
        """
        return self.book.find(message.id).show()

    async def stop_tune(self, message: StopTune) -> Tune:
        """End a tune: its candidate goes back, the live release stays. One that has ended stays as it is.

        Raises:
            NoTuneError: If there is none.
        """
        fold = self.book.find(message.id)
        if fold.state == "running":
            if fold.halted is None:
                await self._write(Halted(id=fold.id, at=self._clock.time(), note=message.note))
            drive = self._drives.get(fold.id)
            if drive is not None:
                drive.halt()
                with anyio.move_on_after(STOP_S):
                    await drive.ended.wait()
        return fold.show()

    async def status(self, message: GetStatus) -> OptimizationStatus:
        """Per agent: trials, best, convergence, the last decision, and how long proposals took."""
        return self.book.status(message.agent)

    async def configure(self, message: Configure) -> Settings:
        """How proposals are made from the next trial on; kept in the log."""
        now = self.book.settings
        settings = Settings(
            algorithm=message.algorithm or now.algorithm,
            convergence_threshold=message.convergence_threshold or now.convergence_threshold,
        )
        if settings != now:
            await self._write(Configured(at=self._clock.time(), settings=settings))
        return settings

    async def propose(self, message: Propose) -> Proposal:
        """A genome worth a trial, from the trials of the agent's last tune. Nothing is deployed.

        Raises:
            NoAgentError: If there is no such agent.
            DeadlineError: If the time was too short.
        """
        release = await self._live(message.agent)
        fold = self.book.newest(message.agent)
        if fold is not None and (not fold.rounds or fold.incumbent != release.number):
            fold = None  # its trials say nothing about this release
        algorithm = self.book.settings.algorithm
        none = Proposal(agent=message.agent, genome={}, number=None, algorithm=algorithm, expected=None, reason="")
        if fold is not None and fold.state == "converged" and fold.ended is not None:
            return replace(none, reason=f"auto-tune {fold.id} has converged: {fold.ended.reason}")
        try:
            study = self._study(release, fold)
        except BadGenomeError as error:
            return replace(none, reason=error.detail)
        began = self._clock.monotonic()
        seconds = _PROPOSE_S if message.deadline_ms is None else message.deadline_ms / 1e3
        asked = None
        with anyio.move_on_after(seconds):
            asked = await anyio.to_thread.run_sync(study.ask, self._clock.time(), abandon_on_cancel=True)
        if asked is None:
            raise DeadlineError(stage="running", hint="the first proposal loads libraries: ask again")
        spent_ms = 1e3 * (self._clock.monotonic() - began)
        self._report("optimization-time", f"a proposal took {spent_ms:.1f} ms", agent=message.agent, ms=spent_ms)
        whole = study.space.decode(asked.point).genome
        names = [member.parameter.name for member in study.space.members if member.dimensions]
        told = f"from {len(study.trials)} trials of auto-tune {fold.id}" if fold else "no trials yet: a first point"
        return replace(
            none, genome={name: whole[name] for name in names}, reason=told,
            number=asked.number + (fold.round.offset if fold else 0),
            expected=self._expects(message.agent, study.space, asked.point),
        )  # fmt: skip

    # -- means ---------------------------------------------------------------------------------------------------------

    def _study(self, release: Release, fold: TuneFold | None) -> Study:
        """A study of its own, so that a tune under way is not disturbed."""
        settings = self.book.settings
        if fold is None:
            tune = searched(release.manifest, release.genome, ())
            return Study(_open_end(study_plan(
                release.manifest, release.genome, tune, seed=0, algorithm=settings.algorithm,
                threshold=settings.convergence_threshold,
            )))  # fmt: skip
        plan = replace(fold.round.study.plan, algorithm=settings.algorithm)
        return Study(_open_end(plan), fold.round.events)

    async def _live(self, agent: str) -> Release:
        view: AgentView = await self._ask(ShowAgent(name=agent))
        if view.state != "live":
            raise ConflictError(f"agent '{agent}' is retired", hint="register or roll it back first")
        return next(release for release in view.releases if release.number == view.live)

    def _begin(self, fold: TuneFold) -> None:
        drive = Drive(
            fold, write=self._write, ask=self._ask, gate=self._gate, recorder=self._recorder, clock=self._clock,
            timed=self._timed, hold=self._hold,
        )  # fmt: skip
        self._drives[fold.id] = drive
        self._spawn(self._run, drive, fold.id)

    async def _run(self, drive: Drive, id_: str) -> None:
        try:
            await drive.run()
        finally:
            self._drives.pop(id_, None)

    async def _write(self, entry: TuneEntry) -> None:
        await self._log.write(entry)
        self.book.apply(entry)
        if isinstance(entry, Configured):
            return
        fold = self.book.find(entry.id)
        if isinstance(entry, Started):
            self._begin(fold)
        fact = fact_of(entry, fold)
        if fact is not None:
            self._report("auto-tune", words_of(fact), agent=fold.agent, tune=fold.id, step=fact.step)
            await self._publish(fact, f"{fold.id}.{fold.entries}")

    async def _publish(self, fact: TuneEvent, id_: str) -> None:
        """Tell others; what is in the log holds, whether or not they hear of it."""
        try:
            await self._tell(fact, id_)
        except ChimeraError as error:
            self._report("auto-tune", f"fact {id_} was not published: {error.detail}", level="warning", code=error.code)

    def _timed(self, fold: TuneFold, spent_ms: float) -> None:
        self.book.timed(fold, spent_ms)
        self._report(
            "optimization-time", f"a proposal took {spent_ms:.1f} ms", agent=fold.agent, tune=fold.id, ms=spent_ms
        )

    def _id(self, at: float) -> str:
        number = int(at * 1000)
        while (id_ := f"t-{number:x}") in self.book.tunes:
            number += 1
        return id_


def _open_end(plan: StudyPlan) -> StudyPlan:
    """The plan for a proposal only: beside open trials, and never the live genome itself."""
    return replace(plan, most_open=256, start_known=False)


def _check_metric(message: AutoTune) -> None:
    if message.metric.kind == "quantile":
        raise BadMessageError("metric.kind: a quantile can't be tuned", hint="take 'slow' with a threshold in ms")
    check_metric(message.metric)
