"""What the bus makes of JetStream's refusals while a cluster comes together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from chimera.bus._api import FORMING_S, Api
from chimera.bus.contract import Delivery
from chimera.clock import Clock
from chimera.errors import ConflictError, UnavailableError
from tests.support.bridge import ManualClock

pytestmark = pytest.mark.anyio

NO_PEERS = {"code": 400, "err_code": 10005, "description": "no suitable peers for placement"}
NO_LEADER = {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}
ALONE = {"code": 500, "err_code": 10074, "description": "replicas > 1 not supported in non-clustered mode"}
OVERLAP = {"code": 400, "err_code": 10065, "description": "subjects overlap with an existing stream"}


class Refusing:
    """JetStream that refuses what it is told to, one refusal after the other, and then does what it is asked."""

    def __init__(self, *refusals: Mapping[str, Any]) -> None:
        self.clock: Clock = ManualClock()
        self.refusals = list(refusals)
        self.asked = 0

    async def wait_up(self, timeout_s: float) -> None:
        """The connection is always up."""

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """The next refusal, or an answer without one."""
        del subject, data, timeout_s, headers
        self.asked += 1
        body = {"error": self.refusals.pop(0)} if self.refusals else {}
        return Delivery("_INBOX.1", msgspec.json.encode(body))

    async def place(self) -> None:
        """Ask it for a stream."""
        await Api(self, self, random.Random(1)).place("STREAM.CREATE.KEPT", {})  # noqa: S311 - jitter


async def test_a_stream_waits_for_a_cluster_that_comes_together():
    """A cluster without a leader, or that does not know all its servers, is asked until it can keep the stream."""
    server = Refusing(NO_LEADER, NO_PEERS, NO_PEERS)
    await server.place()
    assert server.asked == 4


async def test_too_few_servers_are_told_at_the_deadline_with_what_to_do():
    """A cluster that stays too small ends the wait, no later than promised, and the error names the setting."""
    server = Refusing(*[NO_PEERS] * 1_000)
    began = server.clock.monotonic()
    with pytest.raises(UnavailableError, match="no suitable peers") as error:
        await server.place()
    assert "nats.replicas" in error.value.hint
    assert server.clock.monotonic() - began <= FORMING_S


@pytest.mark.parametrize(("refusal", "kind"), [(ALONE, UnavailableError), (OVERLAP, ConflictError)])
async def test_what_no_waiting_mends_is_told_at_once(refusal: Mapping[str, Any], kind: type[Exception]):
    """A server without a cluster and a stream that is in the way refuse once."""
    server = Refusing(refusal)
    with pytest.raises(kind):
        await server.place()
    assert server.asked == 1
