"""The rows that every port answers, as OpenAPI paths."""

from __future__ import annotations

from typing import Any

from .schema import Schema

_STATUS = {"enum": ["pass", "warn", "fail"]}
_CHECKS = {
    "type": "object",
    "description": "check to `ok` or what is wrong",
    "additionalProperties": {"type": "string"},
}

GENERAL_SCHEMAS: dict[str, Schema] = {
    "Liveness": {"title": "Liveness", "type": "object", "properties": {"status": _STATUS}, "required": ["status"]},
    "Readiness": {
        "title": "Readiness",
        "description": "Whether requests can be served here.",
        "type": "object",
        "properties": {"status": _STATUS, "checks": _CHECKS},
        "required": ["status", "checks"],
    },
    "Index": {
        "title": "Index",
        "description": "What can be asked at this port.",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "layer": {"type": "string"},
            "node": {"type": "string"},
            "document": {"type": "string"},
            "operations": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
        },
        "required": ["name", "version", "layer", "node", "document", "operations"],
    },
}
"""Shapes of the general answers."""


def health_schema(reply: type | None) -> Schema:
    """The shape of ``/health``: readiness, and what the layer's own health operation says if it answers."""
    schema: Schema = {
        "title": "HealthDetail",
        "description": "Readiness with the layer's own detail; the status code decides.",
        "type": "object",
        "properties": {"status": _STATUS, "checks": _CHECKS, "node": {"type": "string"}, "version": {"type": "string"}},
        "required": ["status", "checks"],
    }
    if reply is not None:
        schema["description"] += f" While the layer answers it holds all of {reply.__name__}."
    return schema


def general_paths() -> dict[str, Any]:
    """The general rows, by path."""
    verbose = {
        "name": "verbose",
        "in": "query",
        "required": False,
        "allowEmptyValue": True,
        "description": "a line of text per check",
        "schema": {"type": "string"},
    }
    ready = {**_json("Readiness"), "text/plain": {"schema": {"type": "string"}}}
    return {
        "/": _get("index", "What can be asked here", {"200": ("the index", _json("Index"))}),
        "/livez": _get("livez", "The process answers", {"200": ("alive", _json("Liveness"))}),
        "/readyz": _get(
            "readyz", "Bus, store and supervision tree", {"200": ("ready", ready), "503": ("not ready", ready)}, verbose
        ),
        "/health": _get(
            "health",
            "Readiness with detail",
            {
                "200": ("well enough to serve", _json("HealthDetail")),
                "503": ("not able to serve", _json("HealthDetail")),
            },
        ),
        "/metrics": _get(
            "metrics", "Prometheus text", {"200": ("every metric", {"text/plain": {"schema": {"type": "string"}}})}
        ),
        "/openapi.json": _get(
            "openapi", "This document", {"200": ("OpenAPI 3.1", {"application/json": {"schema": {"type": "object"}}})}
        ),
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _get(
    name: str, summary: str, answers: dict[str, tuple[str, dict[str, Any]]], *parameters: dict[str, Any]
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        status: {"description": text, "content": content} for status, (text, content) in answers.items()
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["403"] = {
        "description": "`denied`: the Host header is not one of this bridge's names",
        "content": problem,
    }
    allow = {"Allow": {"schema": {"type": "string"}}}
    responses["405"] = {"description": "`method`: only GET", "content": problem, "headers": allow}
    responses["500"] = {"description": "`internal`: Something went wrong", "content": problem}
    item: dict[str, Any] = {"operationId": f"general.{name}", "tags": ["general"], "summary": summary}
    if parameters:
        item["parameters"] = list(parameters)
    return {"get": {**item, "responses": dict(sorted(responses.items()))}}
