"""Dead letters: one per death, whatever crashes; listed and revived also when the scheduler has forgotten the task."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.queueing.records import New, unpack
from actors.scheduling.core import Policy
from actors.scheduling.letters import DEAD_STREAM, Letter, LetterRules, Letters
from chimera.bus.contract import Stored
from chimera.errors import AgentError, ConflictError, NotFoundError
from chimera.system import System
from chimera.testing import settle
from subjects.dead import GetLetter, ListDead, Revive
from subjects.scheduler import CheckScheduler, GetQueue
from tests.support.scheduler_stage import Failing, Stage, submit, view

pytestmark = pytest.mark.anyio

FORGETFUL = Policy(keep_finished=0)
"""The ledger drops what is final at its next housekeeping."""


@asynccontextmanager
async def running(stage: Stage, **arguments: Any) -> AsyncGenerator[System]:
    """A node that is gone at the end, and may come again under its name."""
    async with anyio.create_task_group() as group:
        async with AsyncExitStack() as stack:
            node = Stage(stack)
            node.clock, node.hub = stage.clock, stage.hub
            system = await node.node(**arguments)
            await stage.clock.advance(0.1)
            yield system
            group.start_soon(node.run_on)  # whoever stops may wait for the clock
        group.cancel_scope.cancel()


async def letters(stage: Stage) -> list[Stored]:
    """The stream's messages."""
    bus = await stage.bus("reader")
    async with bus.read(DEAD_STREAM) as messages:
        return [message async for message in messages]


def deadly(names: Sequence[str]) -> Failing:
    """Work that each of these fails at once."""
    return Failing(len(names), AgentError("no use"))


async def die(stage: Stage, system: System, *names: str, **fields: Any) -> None:
    """These tasks die; a forgetful scheduler has forgotten them then."""
    for name in names:
        await submit(system, id=name, **fields)
    await stage.clock.advance(20.0)


async def never(*_: object) -> None:
    """Does what a crash just before it leaves of it."""
    raise NotFoundError("cut off")


async def test_a_death_is_one_letter_with_its_reason(stage: Stage):
    """The letter stands under its agent's subject with the task, the attempts and the reason."""
    async with running(stage, work=deadly(["t1"])) as system:
        await die(stage, system, "t1")
        (letter,) = await letters(stage)
        assert letter.subject == "chimera.dead.sentiment.t1-1"
        (entry,) = unpack(letter.data)
        assert isinstance(entry, New)
        assert (entry.spec.id, entry.status.state, entry.status.reason) == ("t1", "dead", "agent-error: no use")
        assert [one.outcome for one in entry.status.tries] == ["agent-error"]
        shown = await system.ask(GetLetter(id="t1"))
        assert (shown.reason, shown.input) == ("agent-error: no use", {"x": 1})


async def test_a_letter_lost_in_a_crash_is_sent_at_the_next_start(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """The log has the death, the stream of letters does not: the next start sends it, and one more sends no second."""
    with monkeypatch.context() as patch:
        patch.setattr(Letters, "_send", never)
        async with running(stage, work=deadly(["t1"])) as system:
            await die(stage, system, "t1")
            assert await letters(stage) == []
    for _ in range(2):
        async with running(stage):
            await stage.clock.advance(200.0)  # longer than a server remembers message ids
        assert [one.subject for one in await letters(stage)] == ["chimera.dead.sentiment.t1-1"]


async def test_a_letter_whose_acknowledgement_was_lost_is_not_sent_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """It was stored, nobody heard: repeated after any time it is found, and can be answered."""
    send = Letters._send  # pyright: ignore[reportPrivateUsage] - cut off behind it
    with monkeypatch.context() as patch:

        async def deaf(self: Letters, letter: Letter) -> None:
            await send(self, letter)
            letter.seq = 0
            await never()

        patch.setattr(Letters, "_send", deaf)
        async with running(stage, work=deadly(["t1"])) as system:
            await die(stage, system, "t1")
    async with running(stage) as system:
        await stage.clock.advance(200.0)
        assert len(await letters(stage)) == 1
        assert (await system.ask(Revive(id="t1"))).ids == ["t1"]
        await stage.clock.advance(1.0)
        assert len(await letters(stage)) == 2


async def test_what_the_scheduler_forgot_is_listed_and_revived(stage: Stage):
    """A letter outlives its task: listed, filtered, shown, and revived with its attempts counted on."""
    async with running(stage, work=deadly(["t1", "t2"]), policy=FORGETFUL) as system:
        await die(stage, system, "t1", "t2", labels={"team": "x"})
        assert [one.id for one in (await system.ask(ListDead(label="team=x"))).tasks] == ["t1", "t2"]
        assert (await system.ask(ListDead(label="team=y"))).tasks == []
        assert (await system.ask(GetQueue())).dead == 2
        assert (await system.ask(GetLetter(id="t2"))).labels == {"team": "x"}
        assert (await system.ask(Revive(label="team=x", limit=1))).ids == ["t1"]
        found = await view(system, "t1")
        assert (found.state, found.attempt) == ("succeeded", 2)
        await stage.clock.advance(20.0)
        assert [one.id for one in (await system.ask(ListDead())).tasks] == ["t2"]
    async with running(stage) as system:
        assert [one.id for one in (await system.ask(ListDead())).tasks] == ["t2"]


async def test_an_answered_letter_does_not_come_back(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """The revival is in the log, its mark is not, the task is done and forgotten: the letter is closed all the same."""
    with monkeypatch.context() as patch:
        patch.setattr(Letters, "_mark", never)
        async with running(stage, work=deadly(["t1"])) as system:
            await die(stage, system, "t1")
            await system.ask(Revive(id="t1"))
            assert (await view(system, "t1")).state == "succeeded"
    async with running(stage, policy=FORGETFUL) as system:
        await stage.clock.advance(20.0)
        assert (await system.ask(ListDead())).tasks == []
        assert len(await letters(stage)) == 2
        with pytest.raises(NotFoundError):
            await system.ask(Revive(id="t1"))


async def test_the_same_id_submitted_anew_closes_its_letter(stage: Stage):
    """Whoever submits a forgotten dead task again has answered its letter."""
    async with running(stage, work=deadly(["t1"]), policy=FORGETFUL) as system:
        await die(stage, system, "t1")
        await submit(system, id="t1")
        await stage.clock.advance(20.0)
        assert (await system.ask(ListDead())).tasks == []


async def test_letters_are_bounded(stage: Stage):
    """More than are kept: the oldest go, here and in the stream, and a start does not bring them back."""
    rules, names = LetterRules(most=3), [f"t{number}" for number in range(6)]
    async with running(stage, work=deadly(names), policy=Policy(letters=rules)) as system:
        for name in names:
            await die(stage, system, name)
        await stage.clock.advance(120.0)
        kept = [f"chimera.dead.sentiment.t{number}-1" for number in (3, 4, 5)]
        assert [one.subject for one in await letters(stage)] == kept
    async with running(stage, policy=Policy(letters=rules)) as system:
        await stage.clock.advance(120.0)
        assert [one.subject for one in await letters(stage)] == kept
        assert (await system.ask(CheckScheduler())).status == "warn"


async def test_only_the_dead_are_letters(stage: Stage):
    """A task that is well has no letter, and can't be revived."""
    async with running(stage) as system:
        await submit(system, id="t1")
        await settle(60)
        for question in (GetLetter(id="t1"), Revive(id="t1")):
            with pytest.raises(ConflictError, match="not dead"):
                await system.ask(question)
        with pytest.raises(NotFoundError):
            await system.ask(GetLetter(id="t2"))
