"""The command line against answers that a test put there, instead of a running system."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import msgspec
import pytest

from chimera.cli.main import main
from subjects import Operation

Answer = Any | Callable[[Any], Any]


class FakeClient:
    """Answers each verb with what ``answers`` holds: a reply, an error, a function of the body, or a list of these."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Answer] = {}

    async def ask(self, operation: Operation[Any, Any], body: Any, *, timeout_s: float | None = None) -> Any:  # noqa: ARG002 - the shape of the real one
        """Plain data, as over the wire; the request must be one that the operation takes."""
        request = msgspec.convert(body, operation.request)
        self.asked.append((operation.verb, body))
        answer = self.answers[operation.verb]
        if isinstance(answer, list):
            queue = cast("list[Any]", answer)
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        return msgspec.to_builtins(answer)

    def bodies(self, verb: str) -> list[Any]:
        """What was asked of one verb."""
        return [body for asked, body in self.asked if asked == verb]


def patched(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A client that every command gets instead of a connection."""
    fake = FakeClient()

    def with_client(_settings: Any, work: Callable[[FakeClient], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await work(fake)

        return anyio.run(run)

    monkeypatch.setattr("chimera.cli.client.with_client", with_client)
    return fake


def outcome(words: list[str]) -> int:
    """The exit code of a command line, whether it was understood or not."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)
