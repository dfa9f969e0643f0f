"""Runs genomes on every node that has agents, and keeps all of their workers busy."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from chimera.clock import Clock
from chimera.errors import (
    ChimeraError,
    CrashedError,
    DeadlineError,
    NotRunningError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from subjects.evolver import FitnessStatus, NodeCapacity
from subjects.trial import MOST_GENOMES, MOST_INPUTS, EvaluateGenomes, GenomesEvaluation

from .berths import Berths, Hold
from .caseload import Caseload
from .crew import Crew, Find, Member
from .examination import Candidate, Examination
from .fitness_cache import FitnessCache
from .heat import GoOn, Heat, Job
from .pace import Pace
from .portions import JobQueue, cut
from .sheet import Result
from .tally import NodeTally, Rate, Tally

REQUEST_S = 30.0
"""How long a node may take for one request."""

TARGET_S = 0.1
"""Guest time that a request should hold: enough that asking costs little, not so much that others wait at the end."""

LONGEST_S = 1.0
"""Guest time that a request of a single genome may hold: longer ones are cut."""

PATIENCE_S = 120.0
"""An evaluation fails when no node answered anything for so long."""

GIVE_UP = 3
"""A genome that met a limit on so many tasks of a request is not run further."""

MOST_TRIES = 3
REPLY_BYTES = 512 << 10
_LOOK_S, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 0.1, 2.0
_VALUE_BYTES = 16
_FIRST_TASK_S, _LEARNING = 1e-3, 0.2
Ask = Callable[[EvaluateGenomes, str, float], Awaitable[GenomesEvaluation]]
"""Asks the agent actor of a node, and waits so many seconds at most."""


class Evaluator:
    """Evaluates genomes. ``run`` must be running; any number of evaluations may be asked for at once.

    Args:
        ask: Asks a node.
        find: Says which nodes there are.
        clock: Time.
        cache: Remembers what was measured.
        hold: Leases processors of a node; without it nothing is leased.
    """

    def __init__(
        self, *, ask: Ask, find: Find, clock: Clock, cache: FitnessCache | None = None, hold: Hold | None = None
    ) -> None:  # fmt: skip
        self._ask, self._clock = ask, clock
        self.cache = FitnessCache() if cache is None else cache
        self._crew, self._queue, self._berths = Crew(find), JobQueue(), Berths(hold)
        self._heats: list[Heat] = []
        self._bell = anyio.Event()
        self._group: TaskGroup | None = None
        self._task_s, self._heard_at = _FIRST_TASK_S, clock.monotonic()
        self._trouble: ChimeraError | None = None
        self.tally = Tally(Rate(clock))

    async def run(self) -> None:
        """Find nodes and give them work, until cancelled."""
        async with anyio.create_task_group() as self._group:
            while True:
                await self._crew.look()
                await self._berths.keep(self._crew.members.values() if self._heats else ())
                for member in self._crew.members.values():
                    self._widen(member)
                self._lose_patience()
                if not self._heats:
                    await self._bell.wait()
                else:
                    await self._clock.sleep(_LOOK_S)

    async def evaluate(
        self, examination: Examination, candidates: Sequence[Candidate], rungs: Sequence[Sequence[int]],
        go_on: GoOn | None = None,
    ) -> list[Result]:  # fmt: skip
        """One result per genome, in order. A genome that does not start, crashes or takes too long has a failure.

        Args:
            examination: Agent, cases, and what is measured.
            candidates: The genomes.
            rungs: Cases of each rung, by number; every genome meets them in this order.
            go_on: Asked after each rung but the last; a text stops the genome for that reason. Must be quick.

        Raises:
            UnavailableError: If no node answers for two minutes.
            NoAgentError, NoReleaseError, BadModuleError, BadMessageError: As a node says.
        """
        heat = Heat(examination, rungs, go_on=go_on, cut=self._cut, cache=self.cache)
        if not self._heats:
            self._heard_at = self._clock.monotonic()
        self._heats.append(heat)
        try:
            self._queue.put(await _begun(heat, candidates))
            self._count(heat)
            self._ring()
            await heat.over.wait()
            if heat.error is not None:
                raise heat.error
            return heat.results
        finally:
            heat.fail(UnavailableError("nobody waits for it any more"))
            self._heats.remove(heat)
            self._queue.drop(heat)

    def status(self, running: Sequence[str] = ()) -> FitnessStatus:
        """What was done and is under way; ``running`` are the evolutions that ask."""
        tally = self.tally
        nodes = [
            NodeCapacity(
                node=member.name, in_flight=member.in_flight, most=member.most,
                evaluations=tally.nodes.get(member.name, NodeTally()).evaluations,
                tasks=tally.nodes.get(member.name, NodeTally()).tasks,
            )
            for member in self._crew.members.values()
        ]  # fmt: skip
        return FitnessStatus(
            done=tally.done, pending=sum(heat.left for heat in self._heats), failed=tally.failed,
            rate_per_s=tally.rate.per_s, cache_hits=tally.cached, cache_size_bytes=self.cache.size,
            tasks_run=tally.tasks, tasks_spared=tally.spared, cpu_s=tally.cpu_s, nodes=nodes, running=list(running),
        )  # fmt: skip

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that answered last."""
        return sorted(self._crew.members)

    def lanes(self, node: str = "") -> int:
        """How many genomes should be under way at once, on a node or on all of them, so that no worker idles."""
        member = self._crew.members.get(node)
        return max(2, self._crew.lanes if member is None else member.most)

    # -- lanes ---------------------------------------------------------------------------------------------------------

    def _widen(self, member: Member) -> None:
        """Have as many lanes as the node has workers, and one."""
        while self._group is not None and member.lanes < member.most and not member.gone:
            member.lanes += 1
            self._group.start_soon(self._lane, member)

    async def _lane(self, member: Member) -> None:
        """One request after the other, for as long as the node is there."""
        pause = _FIRST_PAUSE_S
        with anyio.CancelScope() as scope:
            member.scopes.add(scope)
            while not member.gone and member.lanes <= member.most:
                bell = self._bell
                jobs = self._queue.take(lambda job: self._fits(job, member.name), self._share)
                if not jobs:
                    await bell.wait()
                elif await self._serve(member, jobs):
                    pause = _FIRST_PAUSE_S
                else:
                    await self._clock.sleep(pause)
                    pause = min(_LONGEST_PAUSE_S, 2 * pause)
        member.scopes.discard(scope)
        member.lanes -= 1

    async def _serve(self, member: Member, jobs: list[Job]) -> bool:
        """Have a node do the jobs, or put them back; false if the node should rest."""
        member.in_flight += 1
        undone = list(jobs)
        try:
            reply = await self._ask(_message(jobs), member.name, REQUEST_S)
            await self._take(member, undone, reply)
        except (DeadlineError, TooLargeError) as error:
            undone = []
            self._divide(jobs, error)
        except (OverloadedError, UnavailableError, NotRunningError) as error:
            self._trouble = error
            return False
        except ChimeraError as error:
            undone = self._blame(jobs, error)
            return not undone
        finally:
            member.in_flight -= 1
            if undone:
                self._queue.put([job for job in undone if not job.heat.over.is_set()], first=True)
            self._ring()
        return True

    async def _take(self, member: Member, undone: list[Job], reply: GenomesEvaluation) -> None:
        """Hand each run to its evaluation; what was handed over is not undone any more."""
        tasks, cpu_s = sum(run.tasks for run in reply.runs), sum(run.cpu_s for run in reply.runs)
        self.tally.ran(member.name, len(undone), tasks, cpu_s)
        self._heard_at, self._trouble = self._clock.monotonic(), None
        if tasks:
            self._task_s += _LEARNING * (cpu_s / tasks - self._task_s)
        member.workers = max(1, reply.workers)
        self._widen(member)
        for job, run in zip(list(undone), reply.runs, strict=True):
            undone.remove(job)
            self._queue.put(job.heat.take(job, run))
            self._count(job.heat)
            await checkpoint()  # reading columns of numbers must not stall the loop

    def _divide(self, jobs: Sequence[Job], error: ChimeraError) -> None:
        """It took too long, or the answer was too large: the same again in smaller pieces."""
        for job in jobs:
            if len(job.places) > 1 or not job.solo:
                self._queue.put(job.heat.split(job), first=True)
            elif (tries := job.tries + 1) < MOST_TRIES:
                job.tries = tries
                self._queue.put([job], first=True)
            else:
                job.heat.give_up(job, f"one task alone: {error.detail}")
                self._count(job.heat)

    @staticmethod
    def _blame(jobs: list[Job], error: ChimeraError) -> list[Job]:
        """Jobs that are worth another try: a node's actor may have crashed over something else."""
        again: list[Job] = []
        for job in jobs:
            job.tries += 1
            if isinstance(error, CrashedError) and job.tries < MOST_TRIES:
                again.append(job)
            else:
                job.heat.fail(error)
        return again

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _cut(self, caseload: Caseload, places: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Portions that are not longer than a request should be by far."""
        most = 8
        while most < MOST_INPUTS and most * self._task_s < LONGEST_S:
            most *= 2
        return cut(caseload, places, min(most, MOST_INPUTS))

    def _fits(self, job: Job, node: str) -> bool:
        wanted = job.heat.examination.node
        return wanted in {"", node} or wanted not in self._crew.members

    def _share(self, job: Job, waiting: int) -> int:
        """Genomes for one request: as long as it should be, and all lanes should get some."""
        gauges = job.heat.examination.yardstick
        values = len(gauges.fields) + 2 * gauges.times
        by_time = TARGET_S / (len(job.places) * max(1e-6, self._task_s))
        by_size = REPLY_BYTES / (len(job.places) * max(1, values) * _VALUE_BYTES)
        fair = math.ceil(waiting / max(1, self._crew.lanes))
        return max(1, int(min(by_time, by_size, fair, MOST_GENOMES)))

    def _count(self, heat: Heat) -> None:
        """Genomes that are through."""
        total = sum(map(len, heat.rungs))
        for result in heat.through():
            self.tally.done += 1
            self.tally.rate.add()
            self.tally.failed += bool(result.failure)
            self.tally.cached += result.cached
            self.tally.spared += total - result.tasks if result.stopped else 0

    def _lose_patience(self) -> None:
        if not self._heats or self._clock.monotonic() - self._heard_at < PATIENCE_S:
            return
        error = self._trouble or UnavailableError("no node with agents answers", hint="start one with: chimera run")
        for heat in list(self._heats):
            heat.fail(error)

    def _ring(self) -> None:
        bell, self._bell = self._bell, anyio.Event()
        bell.set()


async def _begun(heat: Heat, candidates: Sequence[Candidate]) -> list[Job]:
    """The first jobs of a thousand genomes take a tenth of a second to make."""
    pace, jobs = Pace(), list[Job]()
    for candidate in candidates:
        heat.enter(candidate)
        await pace.turn()
    for some in heat.begin():
        jobs += some
        await pace.turn()
    return jobs


def _message(jobs: Sequence[Job]) -> EvaluateGenomes:
    first = jobs[0]
    examination = first.heat.examination
    candidates = [job.heat.candidate(job.index) for job in jobs]
    limits = [candidate.limits for candidate in candidates]
    return EvaluateGenomes(
        name=examination.release.agent, release=examination.release.number, task=first.task,
        genomes=[candidate.genes for candidate in candidates], limits=limits if any(limits) else [],
        inputs=[examination.caseload.cases[place].input for place in first.places],
        fields=list(examination.yardstick.fields), times=examination.yardstick.times, give_up=GIVE_UP,
        deadline_ms=int(REQUEST_S * 1000),
    )  # fmt: skip
