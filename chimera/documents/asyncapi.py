"""AsyncAPI 3.0 of the NATS side: a channel per subject, requests with their replies, and the published facts."""

from __future__ import annotations

from typing import Any

from chimera._version import __version__
from subjects import EVENTS, MAX_BODY_BYTES, MAX_DEPTH, OPERATIONS, EventType, Operation

from .schema import components, error_codes, reference

_MESSAGE = "#/components/messages/{name}"


def asyncapi() -> dict[str, Any]:
    """The document, with its keys in a fixed order."""
    kinds = [kind for found in OPERATIONS for kind in (found.request, found.reply)]
    kinds += [found.event for found in EVENTS]
    schemas = components({kind.__name__: kind for kind in kinds}.values())
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for found in OPERATIONS:
        channels[found.name] = _request_channel(found)
        channels[f"{found.name}.reply"] = _reply_channel(found)
        operations[found.name] = _answer(found)
    for event in EVENTS:
        name = event.event.__name__
        channels[name] = _event_channel(event)
        operations[f"publish.{name}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": event.summary,
        }
    messages = {kind.__name__: _message(kind) for kind in kinds}
    messages["Problem"] = {"name": "Problem", "payload": {"$ref": "#/components/schemas/Problem"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Chimera",
            "version": __version__,
            "description": (
                "A request is JSON or msgpack, told apart by the first byte; the answer uses the request's encoding. "
                "An error is answered as a Problem with the headers Nats-Service-Error-Code and Nats-Service-Error."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "the default address"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": dict(sorted(messages.items())), "schemas": schemas},
        "x-chimera-limits": {"body_bytes": MAX_BODY_BYTES, "depth": MAX_DEPTH},
    }


def _message(kind: type) -> dict[str, Any]:
    return {"name": kind.__name__, "contentType": "application/json", "payload": reference(kind)}


def _named(*names: str) -> dict[str, Any]:
    return {name: {"$ref": _MESSAGE.format(name=name)} for name in names}


def _request_channel(found: Operation[Any, Any]) -> dict[str, Any]:
    return {
        "address": found.subject,
        "summary": found.summary,
        "messages": _named(found.request.__name__),
    }


def _reply_channel(found: Operation[Any, Any]) -> dict[str, Any]:
    description = "the inbox that the request names"
    if found.streams:
        description = f"{description}: many messages, an empty one at the end"
    return {
        "address": None,
        "description": description,
        "messages": _named(found.reply.__name__, "Problem"),
    }


def _answer(found: Operation[Any, Any]) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{found.name}"},
        "summary": found.summary,
        "bindings": {"nats": {"queue": found.actor}},
        "reply": {
            "address": {"location": "$message.header#/reply-to", "description": "the NATS reply subject"},
            "channel": {"$ref": f"#/channels/{found.name}.reply"},
        },
        "x-chimera-safe": found.safe,
        "x-chimera-open": found.open,
        "x-chimera-timeout-s": found.timeout_s,
        "x-chimera-errors": error_codes(found),
        "x-chimera-example": found.example,
    }


def _event_channel(event: EventType) -> dict[str, Any]:
    parts = event.subject.split(".")
    address = ".".join("{key}" if part == "*" else part for part in parts)
    channel: dict[str, Any] = {"address": address, "summary": event.summary}
    if "{key}" in address:
        channel["parameters"] = {"key": {"description": "an id: 1 to 64 of A-Z a-z 0-9 _ -"}}
    channel["messages"] = _named(event.event.__name__)
    if not event.subject.startswith("chimera.live."):  # told to whoever listens, and not kept
        channel["x-chimera-stream"] = "KPI" if event.subject.startswith("chimera.kpi.") else "EVENTS"
    channel["x-chimera-subject"] = event.subject
    return channel
