"""Permissions come from the declared operations, so a new operation needs no edit."""

from typing import Any

import pytest

from chimera.server import roles
from chimera.server.roles import RoleName
from subjects import OPERATIONS, Operation, Port, Reply, Request


class Nothing(Reply, frozen=True):
    """An empty answer."""


class Poke(Request[Nothing], frozen=True):
    """An empty request."""


def operation(verb: str, *, safe: bool = False, open_: bool = False) -> Operation[Any, Any]:
    """An operation that nobody declared."""
    return Operation("thing", verb, Poke, Nothing, Port.AGENT, "A thing", safe=safe, open=open_)


def matches(pattern: str, subject: str) -> bool:
    """NATS' own rule: ``*`` is one token, ``>`` at the end is one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(given) > index
        if index >= len(given) or token not in ("*", given[index]):
            return False
    return len(wanted) == len(given)


def may_publish(role: RoleName, subject: str) -> bool:
    """What the server would decide."""
    return any(matches(pattern, subject) for pattern in roles()[role].publish)


def may_subscribe(role: RoleName, subject: str) -> bool:
    """What the server would decide."""
    return any(matches(pattern, subject) for pattern in roles()[role].subscribe)


def test_client_may_call_what_is_safe_or_open():
    """A new operation is the client's if it is declared safe or open, and not otherwise."""
    known = (operation("look", safe=True), operation("run", open_=True), operation("wipe"))
    publish = roles(known)["client"].publish
    assert {"chimera.thing.look", "chimera.thing.run"} <= set(publish)
    assert "chimera.thing.wipe" not in publish


def test_operator_may_call_every_operation():
    """The operator gets unsafe operations as well, also new ones."""
    assert "chimera.thing.wipe" in roles([operation("wipe")])["operator"].publish


@pytest.mark.parametrize("declared", OPERATIONS, ids=lambda declared: declared.name)
def test_declared_operations(declared: Operation[Any, Any]):
    """The operator and the node may call each operation, the client what is safe or open, the observer none."""
    assert may_publish("operator", declared.subject)
    assert may_publish("runtime", declared.subject)
    assert may_publish("client", declared.subject) == (declared.safe or declared.open)
    assert not may_publish("observer", declared.subject)


@pytest.mark.parametrize(
    "subject",
    [
        "chimera.agent.register", "chimera.kpi.sentiment", "chimera.event.agent.released", "chimera.control.cancel",
        "chimera.node.a.agent.predict", "$JS.API.STREAM.DELETE.KPI", "$JS.API.STREAM.NAMES", "$KV.agents.sentiment",
        "$O.modules.C.x", "$SYS.REQ.SERVER.PING", "_INBOX_runtime.abc", "$SRV.RESET.x", "anything",
    ],
)  # fmt: skip
def test_client_may_not_publish(subject: str):
    """The client calls operations and looks services up: no streams, buckets, events, control, other inboxes."""
    assert not may_publish("client", subject)


def test_client_may_look_services_up():
    """``nats micro ls|info|stats`` works with the client's key."""
    for verb in ("PING", "INFO", "STATS"):
        assert all(may_publish("client", f"$SRV.{verb}{rest}") for rest in ("", ".agent", ".agent.ID"))


def test_no_role_reads_anothers_answers():
    """No role may subscribe an inbox of another; the node itself may not read people's inboxes either."""
    known = roles()
    for role in known.values():
        for other in known.values():
            assert may_subscribe(role.name, f"{other.inbox_prefix}.x.y") == (role is other)
    assert [name for name in known if may_subscribe(name, "_INBOX.x.y")] == ["client"]


def test_the_node_can_answer_everybody():
    """The node may publish to every inbox that some role may subscribe."""
    known = roles()
    assert all(may_publish("runtime", f"{role.inbox_prefix}.x.y") for role in known.values())
    assert may_publish("runtime", "_INBOX.x.y")


@pytest.mark.parametrize(
    "call",
    [
        "CONSUMER.CREATE.KPI.mine", "CONSUMER.DELETE.KPI.projector", "CONSUMER.MSG.NEXT.KPI.projector",
        "STREAM.PURGE.KPI", "STREAM.DELETE.KPI", "STREAM.UPDATE.KPI", "STREAM.MSG.DELETE.KPI",
    ],
)  # fmt: skip
def test_observer_only_reads(call: str):
    """Consumers would let an observer change the node's own or steal deliveries, so it gets none."""
    assert not may_publish("observer", f"$JS.API.{call}")


def test_observer_reads_facts_live_and_stored():
    """Both streams of facts can be listened to and read back by sequence."""
    assert may_subscribe("observer", "chimera.event.agent.judged")
    assert may_subscribe("observer", "chimera.kpi.sentiment")
    for stream in ("EVENTS", "KPI"):
        assert may_publish("observer", f"$JS.API.STREAM.INFO.{stream}")
        assert may_publish("observer", f"$JS.API.STREAM.MSG.GET.{stream}")
        assert may_publish("observer", f"$JS.API.DIRECT.GET.{stream}")


@pytest.mark.parametrize(
    "call", ["STREAM.PURGE.KPI", "STREAM.DELETE.KPI", "STREAM.UPDATE.KPI", "CONSUMER.CREATE.WORK.x"]
)
def test_operator_may_not_damage_streams(call: str):
    """The operator does things through operations, not behind their back."""
    assert not may_publish("operator", f"$JS.API.{call}")
