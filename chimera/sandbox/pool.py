"""The worker processes: started together, replaced when they die, handed out fairly."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from chimera.clock import Clock
from chimera.errors import DeadlineError, StartError, UnavailableError

from .call import Call
from .contract import GuestFailure
from .link import Batch, WorkerDiedError, WorkerLink
from .place import Outcome
from .residents import Residence
from .settings import SandboxSettings
from .spawn import start_worker
from .turnstile import Turnstile

READY_WITHIN_S = 30.0
END_WITHIN_S = 2.0
START_ATTEMPTS = 3
MAX_BACKOFF_S, QUIET_S = 5.0, 10.0
MIN_GRACE_S = 0.5

Heal = Callable[[Residence], Awaitable[Residence | None]]
Note = Callable[[str, WorkerLink, Batch | None], None]


def kill_after_s(order: Residence) -> float:
    """When a silent worker is killed: twice the wall limit, and at least half a second beyond it.

    The worker stops guests itself at the limit; this is for the worker that does not answer any more.
    """
    wall_s = order.spec.limits.wall_ms / 1e3
    return max(2 * wall_s, wall_s + MIN_GRACE_S)


class WorkerPool:
    """A ``Place`` of worker processes. ``heal`` mends a guest whose compiled file was damaged; ``note`` hears news."""

    def __init__(self, settings: SandboxSettings, clock: Clock, heal: Heal, note: Note) -> None:
        self.seats = settings.worker_count()
        self.links: set[WorkerLink] = set()
        self.deaths = 0
        self._settings, self._clock, self._heal, self._note = settings, clock, heal, note
        self._gate: Turnstile[WorkerLink] = Turnstile(self.seats, settings.max_waiting)
        self._orders: dict[int, Residence] = {}
        self._watchers: list[tuple[str, asyncio.Future[None]]] = []
        self._instances = 0
        self._pooling = True
        self._closing = False

    @property
    def idle(self) -> int:
        """Workers that wait for work."""
        return self._gate.idle

    @property
    def waiting(self) -> int:
        """Calls that wait for a worker."""
        return self._gate.waiting

    @property
    def instances(self) -> int:
        """Instances started since the start."""
        return self._instances + sum(link.instances for link in self.links)

    async def open(self, group: TaskGroup) -> None:
        """Start the workers side by side and wait until all are ready.

        Raises:
            StartError: If a worker does not come up after three attempts.
        """
        starts = [asyncio.get_running_loop().create_future() for _ in range(self.seats)]
        for started in starts:
            group.start_soon(self._keep_seat, started)
        for started in starts:
            await started

    async def close(self) -> None:
        """End all workers: by hanging up, and after two seconds by force."""
        self._closing = True
        for link in list(self.links):
            link.close()
        with anyio.move_on_after(END_WITHIN_S):
            while self.links:
                await next(iter(self.links)).lost.wait()
        for _, watcher in self._watchers:
            if not watcher.done():
                watcher.set_exception(UnavailableError("the sandbox is closed"))

    def is_free(self, agent: str) -> bool:
        """True if a run of this agent would get a worker now."""
        return self._gate.is_free(agent)

    async def wait_free(self, agent: str) -> None:
        """Wait until ``is_free``; it may be over again by the time the caller wakes."""
        self._check_open()
        if self._gate.is_free(agent):
            return
        watcher = (agent, asyncio.get_running_loop().create_future())
        self._watchers.append(watcher)
        try:
            await watcher[1]
        finally:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    async def run(
        self, order: Residence, task: str, payloads: Sequence[bytes], timeout_s: float | None
    ) -> list[Outcome]:
        """Run the payloads in turn. After a death the one that ran is lost and the rest go to another worker.

        Raises:
            DeadlineError: If ``timeout_s`` passed; what runs at that moment runs to its end, unheard.
            OverloadedError: If too many calls wait already.
            UnavailableError: If the sandbox is closed.
        """
        self._check_open()
        call = Call()
        timer = self._clock.call_later(timeout_s, call.expire) if timeout_s is not None else None
        outcomes: list[Outcome] = []
        try:
            while len(outcomes) < len(payloads):
                outcomes += await self._run_on_one(order, task, payloads[len(outcomes) :], call)
        finally:
            if timer is not None:
                timer.cancel()
        return outcomes

    async def hand(self, batch: Batch, call: Call) -> WorkerLink:
        """Have the next worker run a batch; it may have died under it.

        Raises:
            DeadlineError: If the call expired.
            OverloadedError: If too many calls wait already.
            UnavailableError: If the sandbox is closed.
        """
        self._check_open()
        link = self._gate.take(batch.agent) or await self._wait(batch.agent, call)
        if call.expired:  # between two waits
            self._return(link, batch.agent)
            raise DeadlineError(stage="queued")
        batch.begun = self._clock.monotonic()
        call.waits_for(batch.done, "running")
        link.start(batch)
        await batch.done
        return link

    async def load(self, order: Residence) -> tuple[str, str]:
        """Load on one worker first, so that a guest that loops or kills harms one only; then on the others."""
        scout = await self._some_worker()
        try:
            status, detail = await self._load_on(scout, order)
        except WorkerDiedError:
            return "module", "the worker died while loading it"
        if status:
            return status, detail
        self._orders[order.number] = order
        problems: list[tuple[str, str]] = []
        async with anyio.create_task_group() as group:
            for link in [link for link in self.links if order.number not in link.loaded]:
                group.start_soon(self._load_too, link, order, problems)
        if problems:
            self.unload(order)
            return problems[0]
        return "", ""

    def unload(self, order: Residence) -> None:
        """Forget a guest on every worker."""
        self._orders.pop(order.number, None)
        for link in self.links:
            link.unload(order.number)

    def worker_free(self, link: WorkerLink, batch: Batch) -> None:
        """A worker ended its batch."""
        self._gate.leave(batch.agent, self._clock.monotonic() - batch.begun)
        self._hand_on(link)

    def worker_died(self, link: WorkerLink, batch: Batch | None) -> None:
        """A worker ended; its seat's keeper starts another."""
        self._gate.remove(link)
        if link in self.links:
            self.links.discard(link)
            self._instances += link.instances
            if not self._closing:
                self.deaths += 1
                self._note("worker-died", link, batch)
        if batch is not None:
            self._gate.leave(batch.agent, math.inf)
            self._gate.serve()

    async def _run_on_one(self, order: Residence, task: str, payloads: Sequence[bytes], call: Call) -> list[Outcome]:
        batch = Batch(order.spec.agent, order.number, task, payloads, kill_after_s(order))
        link = await self.hand(batch, call)
        if len(batch.outcomes) == len(payloads):
            return batch.outcomes
        self._check_open()
        return [*batch.outcomes, death(link, order)]

    async def _wait(self, agent: str, call: Call) -> WorkerLink:
        future: asyncio.Future[WorkerLink] = asyncio.get_running_loop().create_future()

        def grant(link: WorkerLink) -> bool:
            if future.done():
                return False
            future.set_result(link)
            return True

        ticket = self._gate.wait(agent, grant)
        call.waits_for(future, "queued")
        try:
            link = await future
        except BaseException:
            self._gate.cancel(ticket)
            if future.done() and not future.cancelled() and future.exception() is None:
                self._return(future.result(), agent)
            raise
        if link.alive:
            return link
        # It died between the grant and now.
        self._gate.leave(agent)
        return self._gate.take(agent) or await self._wait(agent, call)

    def _return(self, link: WorkerLink, agent: str) -> None:
        self._gate.leave(agent)
        if link.alive:
            self._hand_on(link)

    def _hand_on(self, link: WorkerLink) -> None:
        """Give a free worker to whoever claimed it, else to the queue, else let it idle."""
        while link.claims:
            claim = link.claims.popleft()
            if not claim.done():
                claim.set_result(None)
                self._gate.serve()
                return
        self._gate.add(link)
        for agent, watcher in self._watchers:
            if not watcher.done() and self._gate.is_free(agent):
                watcher.set_result(None)

    async def _load_too(self, link: WorkerLink, order: Residence, problems: list[tuple[str, str]]) -> None:
        try:
            status, detail = await self._load_on(link, order)
        except WorkerDiedError:
            return  # its successor loads every guest before it serves
        if status:
            problems.append((status, detail))

    async def _load_on(self, link: WorkerLink, order: Residence) -> tuple[str, str]:
        if not self._gate.remove(link):
            claim: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            link.claims.append(claim)
            try:
                await claim
            except asyncio.CancelledError:
                if claim.done() and not claim.cancelled() and claim.exception() is None:
                    self._hand_on(link)
                raise
        try:
            return await link.load(order, kill_after_s(order))
        finally:
            if link.alive:
                self._hand_on(link)

    async def _some_worker(self) -> WorkerLink:
        with anyio.move_on_after(READY_WITHIN_S):
            while not self.links:
                self._check_open()
                await anyio.sleep(0.01)
            return next((link for link in self.links if not self._gate_busy(link)), next(iter(self.links)))
        raise UnavailableError("no sandbox worker is running")

    def _gate_busy(self, link: WorkerLink) -> bool:
        if self._gate.remove(link):
            self._gate.add(link)
            return False
        return True

    async def _keep_seat(self, started: asyncio.Future[None]) -> None:
        """Keep one worker running for as long as the sandbox is open."""
        failures = 0
        while not self._closing:
            began = self._clock.monotonic()
            try:
                link = await self._bring_up()
            except (WorkerDiedError, TimeoutError, OSError) as error:
                self._pooling = False  # the usual cause: an address space too small for the pool
                failures += 1
                if not started.done() and failures >= START_ATTEMPTS:
                    started.set_exception(StartError(f"a sandbox worker does not start: {error or 'no answer'}"))
                    return
            else:
                if not started.done():
                    started.set_result(None)
                try:
                    await link.lost.wait()
                finally:
                    await _reap(link)
                failures = 0 if self._clock.monotonic() - began > QUIET_S else failures + 1
            if failures > 1 and not self._closing:
                await self._clock.sleep(min(MAX_BACKOFF_S, 0.05 * 2**failures))

    async def _bring_up(self) -> WorkerLink:
        started: list[tuple[subprocess.Popen[bytes], socket.socket]] = []
        with anyio.CancelScope(shield=True):  # a process whose start was cancelled would be nobody's
            started.append(await anyio.to_thread.run_sync(self._start_process))
        process, ours = started[0]
        link = WorkerLink(process, self, self._clock)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=ours)
            with anyio.fail_after(READY_WITHIN_S):
                await link.ready
            await self._load_all(link)
        except BaseException:
            link.close()
            ours.close()
            await _reap(link)
            raise
        if not link.alive:
            raise WorkerDiedError("the worker ended")
        self.links.add(link)
        self._note("worker-started", link, None)
        self._hand_on(link)
        if self._closing:
            link.close()
        return link

    def _start_process(self):  # noqa: ANN202 - the pair that start_worker returns
        settings = self._settings
        return start_worker(settings.chosen_api(), pooling=self._pooling, memory_bytes=settings.memory_limit_bytes)

    async def _load_all(self, link: WorkerLink) -> None:
        """Give a new worker every guest; one that cannot be had any more is left out, and says so when it is run."""
        while missing := [order for number, order in self._orders.items() if number not in link.loaded]:
            order: Residence | None = missing[0]
            status = "corrupt"
            while order is not None and status == "corrupt":
                status, _ = await link.load(order, kill_after_s(order))
                if status == "corrupt":
                    order = await self._heal(order)
            link.loaded.add(missing[0].number)

    def _check_open(self) -> None:
        if self._closing:
            raise UnavailableError("the sandbox is closed")


def death(link: WorkerLink, order: Residence) -> GuestFailure:
    """What became of the payload that a worker died under."""
    if link.overdue:
        seconds = kill_after_s(order)
        return GuestFailure(
            "agent-limit", f"it did not stop; its worker was killed after {seconds:g} s", "wall", seconds
        )
    return GuestFailure("lost", "the worker died under it")


async def _reap(link: WorkerLink) -> None:
    """Collect the process; it was killed, so this is quick."""
    link.kill()
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(link.process.wait)
