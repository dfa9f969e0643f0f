"""One life of an actor: from a crash or a start to the next, with the turns and background work that belong to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from .actor import Actor, reply_type
from .context import Context
from .errors import ChimeraError, CrashedError, NotRunningError, RestartingError, UnavailableError, flatten
from .turn import Turn, current_turn
from .wire import decode, encode

if TYPE_CHECKING:
    from .cell import Cell
    from .events import Auditor
    from .ref import Ref

CLEANUP_S = 5.0
"""What a streaming handler's ``finally`` may take."""


class Instance:
    """An actor object at work behind a cell."""

    __slots__ = ("_backgrounds", "_downs", "_opened", "active", "actor", "beside", "cell", "failure")

    def __init__(self, cell: Cell, actor: Actor) -> None:
        self.cell = cell
        self.actor = actor
        self.active = self.beside = 0
        self.failure: BaseException | None = None
        self._opened = False
        self._backgrounds: set[anyio.CancelScope] | None = None
        self._downs: list[tuple[Ref, str]] | None = None
        actor.ctx = Context(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Run ``on_start``.

        Raises:
            Exception: What it raised, or what background work begun in it failed with.
        """
        if type(self.actor).on_start is not Actor.on_start:
            await self.actor.on_start()
        self._opened = True
        if self.failure is not None:
            raise self.failure

    def begin(self) -> None:
        """Take up what waits in the mailbox, and the ``Down`` notices that came during the start."""
        for ref, reason in self._downs or ():
            self.spawn(self.actor.on_down, ref, reason)
        self._downs = None
        cell = self.cell
        for _ in range(min(cell.kind.concurrency, len(cell.mailbox or ()))):
            self.active += 1
            cell.system.workers.run(self)

    async def close(self, reason: str, timeout_s: float) -> None:
        """End the background work, then run ``on_stop`` if ``on_start`` had succeeded; both bounded."""
        for scope in list(self._backgrounds or ()):
            scope.cancel()
        await self.cell.until(lambda: not self._backgrounds, timeout_s)
        if not self._opened or type(self.actor).on_stop is Actor.on_stop:
            return
        cell = self.cell
        with cell.system.patience.bound(timeout_s) as scope:
            try:
                await self.actor.on_stop(reason)
            except Exception as error:  # noqa: BLE001 - stopping goes on whatever a hook does
                cell.system.emit("actor-stop-failed", cell.kind, flatten(error), level="warning", actor=cell.address)
        if scope.cancelled_caught:
            text = f"on_stop took longer than {timeout_s:g} s"
            cell.system.emit("actor-stop-failed", cell.kind, text, level="warning", actor=cell.address)

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def work(self, scope: anyio.CancelScope) -> None:
        """One turn after the other until nothing waits."""
        cell = self.cell
        mailbox = cell.mailbox
        while mailbox is not None and cell.serves(self) and (turn := mailbox.take()) is not None:
            await self.run(turn, scope)
            if scope.cancel_called:
                return
        self.active -= 1
        cell.changed()

    async def run(self, turn: Turn, scope: anyio.CancelScope) -> None:
        """One turn. It never raises, but for a cancellation."""
        cell = self.cell
        if turn.deadline is not None and cell.system.clock.monotonic() >= turn.deadline:
            turn.expire()
            return
        turn.stage = "running"
        turn.scope = scope
        cell.turns.add(turn)
        current_turn.set(turn)
        started = time.perf_counter()
        handler = getattr(self.actor, turn.spec.method)
        try:  # all in one coroutine: every layer costs a tenth of a local ask
            if turn.spec.streams:
                await self._stream(turn, handler)
            else:
                if turn.spec.privileged and cell.system.auditor is not None:
                    answer = await _audited(cell.system.auditor, handler, turn)
                else:
                    answer = await handler(turn.message)
                future = turn.future
                if future is None or cell.system.strict_local:
                    await self._answer(turn, answer)
                else:
                    turn.stage = "done"
                    if not future.done():
                        future.set_result(answer)
        except asyncio.CancelledError as error:
            await self._cancelled(turn, error)
        except ChimeraError as error:
            await self._answer_error(turn, error)
        except Exception as error:  # noqa: BLE001 - this is the supervisor's boundary: any failure is a crash
            await self._crash(turn, error)
        finally:
            turn.scope = None
            cell.finished(turn, time.perf_counter() - started)

    async def _cancelled(self, turn: Turn, error: BaseException) -> None:
        """Tell apart: the turn was aborted; the node ends; the handler met a future that somebody else cancelled."""
        if turn.scope is not None and turn.scope.cancel_called:
            return
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            turn.abort(UnavailableError(f"{self.cell.address} was stopped while it worked on this"))
            raise error
        await self._crash(turn, error)

    async def _crash(self, turn: Turn, error: BaseException) -> None:
        crash = CrashedError(f"{self.cell.address} failed in {turn.spec.method}: {flatten(error)}")
        await self._answer_error(turn, crash)
        self.cell.fail(self, error)

    async def _answer(self, turn: Turn, result: Any) -> None:
        if turn.stage == "done":
            return
        future = turn.future
        if future is not None:
            if self.cell.system.strict_local:
                result = _through_codec(turn, result)
            turn.stage = "done"
            if not future.done():
                future.set_result(result)
            return
        turn.stage = "done"
        if turn.sink is not None:
            await turn.sink.value(result)

    async def _answer_error(self, turn: Turn, error: ChimeraError) -> None:
        if turn.stage == "done":
            return
        turn.stage = "done"
        self.cell.count_error(turn, error)
        future = turn.future
        if future is not None:
            if not future.done():
                future.set_exception(error)
                future.exception()
        elif turn.sink is not None:
            await turn.sink.error(error)

    async def _stream(self, turn: Turn, handler: Callable[[Any], Any]) -> None:
        sink, strict = turn.sink, self.cell.system.strict_local
        source = handler(turn.message)
        try:
            async for item in source:
                if turn.stage == "done":  # a reader in step with its handler can keep a cancellation from arriving
                    break
                if sink is not None:
                    await sink.chunk(_through_codec(turn, item) if strict else item)
        finally:
            with self.cell.system.patience.bound(CLEANUP_S):
                await source.aclose()
        if turn.stage != "done":
            turn.stage = "done"
            if sink is not None:
                await sink.end()

    # -- beside the turns ----------------------------------------------------------------------------------------------

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a coroutine function until this instance ends; its failure is a crash.

        Raises:
            NotRunningError: If this instance has ended.
        """
        if self.cell.instance is not self:
            raise NotRunningError(f"{self.cell.address} has ended, it can't begin {function!r}")
        if self._backgrounds is None:
            self._backgrounds = set()
        scope = anyio.CancelScope()
        self._backgrounds.add(scope)
        self.cell.system.start_soon(self._background, scope, function, args)

    async def _background(self, scope: anyio.CancelScope, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        current_turn.set(None)
        try:
            with scope:
                await function(*args)
        except Exception as error:  # noqa: BLE001 - as in a turn: any failure is a crash
            self.cell.fail(self, error)
        finally:
            if self._backgrounds is not None:
                self._backgrounds.discard(scope)
            self.cell.changed()

    def take_down(self, ref: Ref, reason: str) -> None:
        """A watched actor ended: call ``on_down`` now, or once started."""
        if self._opened:
            self.spawn(self.actor.on_down, ref, reason)
        else:
            self._downs = [*(self._downs or ()), (ref, reason)]


async def _audited(auditor: Auditor, handler: Callable[[Any], Any], turn: Turn) -> Any:
    """The handler's answer, its act recorded before and its outcome after."""
    draft, outcome = await auditor.asked(turn), "cancelled"
    try:
        answer = await handler(turn.message)
        outcome = "ok"
    except ChimeraError as error:
        outcome = error.code
        raise
    except Exception:
        outcome = "crashed"
        raise
    finally:
        auditor.ended(draft, outcome)
    return answer


def _through_codec(turn: Turn, answer: Any) -> Any:
    return decode(encode(answer), reply_type(type(turn.message)), "msgpack")


class Beside:
    """A turn that runs beside the others: the job of an ``interleave=True`` handler."""

    __slots__ = ("_instance", "_turn")

    def __init__(self, instance: Instance, turn: Turn) -> None:
        turn.stage = "taken"
        instance.beside += 1
        self._instance = instance
        self._turn = turn

    async def work(self, scope: anyio.CancelScope) -> None:
        """Run it, unless it has ended or its instance has."""
        instance, turn = self._instance, self._turn
        if turn.stage == "taken":
            if instance.cell.serves(instance):
                await instance.run(turn, scope)
                if scope.cancel_called:
                    return
            else:
                turn.abort(RestartingError(f"{instance.cell.address} ended before it took this up"))
        instance.beside -= 1
        instance.cell.changed()
