"""OpenAPI 3.1 of one port: its operations with every error they answer, and the general rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from chimera._version import __version__
from chimera.errors import ChimeraError
from chimera.pages import PAGES
from subjects import OPERATIONS, Http, Operation, Port

from .general import GENERAL_SCHEMAS, general_paths, health_schema
from .schema import Schema, by_status, components, error_codes, reference, unwrap_null

_DOOR = ("denied", "method", "not-found")
_BODY = ("too-large", "slow-body", "media-type")
_KEYED = ("conflict", "key-reused")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}},
}
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request gives the stored answer and runs nothing.",
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"},
}
_PLACE_HEADER = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Go on after this event; a browser's EventSource sends it by itself.",
    "schema": {"type": "string", "maxLength": 64},
}
_TRACE_HEADER = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "description": "W3C trace context, passed on; one that is malformed is ignored.",
    "schema": {"type": "string"},
}


def openapi(port: Port, pages: Collection[str] = PAGES) -> dict[str, Any]:
    """The document of a port, with its keys in a fixed order.

    Args:
        port: Whose operations.
        pages: Names of the operations whose GET answers HTML to clients that prefer it.
    """
    operations = [operation for operation in OPERATIONS if operation.port == port]
    health = next((operation.reply for operation in operations if operation.verb == "health"), None)
    kinds = {kind.__name__: kind for found in operations for kind in (found.request, found.reply)}
    schemas = {**components(kinds.values()), **GENERAL_SCHEMAS, "HealthDetail": health_schema(health)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Chimera, {port.name.lower()}",
            "version": __version__,
            "summary": f"The operations of port {int(port)}, and what every port answers",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": f"http://127.0.0.1:{int(port)}", "description": "the default address"}],
        "tags": [{"name": port.name.lower()}, {"name": "general"}],
        "paths": {**_operation_paths(operations, schemas, pages), **general_paths()},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": _shared_responses(operations),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "from <data folder>/secrets/http-token; needed where the setting http.token says so",
                }
            },
        },
    }


def _operation_paths(
    operations: list[Operation[Any, Any]], schemas: dict[str, Schema], pages: Collection[str]
) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for position, face in enumerate(operation.http):
            item = paths.setdefault(face.path, {})[face.method.lower()] = _item(operation, face, position, schemas)
            if face.method == "GET" and operation.name in pages:
                item["responses"][str(face.status)]["content"]["text/html"] = {"schema": {"type": "string"}}
    return paths


def _item(operation: Operation[Any, Any], face: Http, position: int, schemas: dict[str, Schema]) -> dict[str, Any]:
    item: dict[str, Any] = {
        "operationId": operation.name if position == 0 else f"{operation.name}.{position + 1}",
        "tags": [operation.port.name.lower()],
        "summary": operation.summary,
        "description": schemas[operation.request.__name__].get("description", ""),
        "parameters": _parameters(operation, face, schemas),
        "x-chimera-subject": operation.subject,
        "x-chimera-timeout-s": operation.timeout_s,
    }
    if face.method in {"POST", "PUT"}:
        item["requestBody"] = _request_body(operation, face, schemas)
    if not operation.safe:
        item["security"] = [{"token": []}, {}]
    item["responses"] = _responses(operation, face)
    return item


def _parameters(operation: Operation[Any, Any], face: Http, schemas: dict[str, Schema]) -> list[dict[str, Any]]:
    request = schemas[operation.request.__name__]
    properties: dict[str, Schema] = request.get("properties", {})
    found: list[dict[str, Any]] = []
    for name, schema in properties.items():
        in_path = f"{{{name}}}" in face.path
        if in_path or face.method in {"GET", "DELETE"}:
            place = "path" if in_path else "query"
            required = in_path or name in request.get("required", [])
            found.append({"name": name, "in": place, "required": required, "schema": unwrap_null(schema)})
    if face.method in {"POST", "DELETE"}:
        found.append(_KEY_HEADER)
    if operation.streams:
        found.append(_PLACE_HEADER)
    return [*found, _TRACE_HEADER]


def _request_body(operation: Operation[Any, Any], face: Http, schemas: dict[str, Schema]) -> dict[str, Any]:
    whole = schemas[operation.request.__name__]
    inside = {name: value for name, value in operation.example.items() if f"{{{name}}}" not in face.path}
    schema = reference(operation.request)
    if "{" in face.path:
        schema = _without_path(whole, face)
    required = bool(schema.get("required", whole.get("required") if "$ref" in schema else []))
    return {"required": required, "content": {"application/json": {"schema": schema, "example": inside}}}


def _without_path(whole: Schema, face: Http) -> Schema:
    kept = {name: value for name, value in whole["properties"].items() if f"{{{name}}}" not in face.path}
    required = [name for name in whole.get("required", []) if name in kept]
    schema = {**whole, "title": f"{whole['title']}Body", "properties": kept, "required": required}
    if not required:
        del schema["required"]
    return schema


def _extra_codes(operation: Operation[Any, Any], face: Http) -> list[str]:
    extra: list[str] = list(_DOOR)
    if face.method in {"POST", "PUT"}:
        extra += _BODY
    if face.method in {"POST", "DELETE"}:
        extra += _KEYED
    if not operation.safe:
        extra.append("unauthorized")
    return extra


def _responses(operation: Operation[Any, Any], face: Http) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": reference(operation.reply)}}
    if operation.streams:
        content = {"text/event-stream": {"schema": {"type": "string"}, "x-chimera-element": reference(operation.reply)}}
    success = {"description": operation.summary, "content": content}
    shared = {
        str(status): {"$ref": f"#/components/responses/{_response_name(status, errors)}"}
        for status, errors in by_status(error_codes(operation, _extra_codes(operation, face))).items()
    }
    return {str(face.status): success, **shared}


def _response_name(status: int, errors: list[type[ChimeraError]]) -> str:
    return ".".join([str(status), *(error.code for error in errors)])


def _shared_responses(operations: list[Operation[Any, Any]]) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    for operation in operations:
        for face in operation.http:
            for status, errors in by_status(error_codes(operation, _extra_codes(operation, face))).items():
                shared[_response_name(status, errors)] = _problem(status, errors)
    return dict(sorted(shared.items()))


def _problem(status: int, errors: list[type[ChimeraError]]) -> dict[str, Any]:
    meanings = "; ".join(f"`{error.code}`: {error.title()}" for error in errors)
    response: dict[str, Any] = {
        "description": meanings,
        "content": {"application/problem+json": {"schema": _PROBLEM, "example": _example(errors[0])}},
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response


def _example(error: type[ChimeraError]) -> dict[str, Any]:
    return {
        "type": f"urn:chimera:problem:{error.code}",
        "title": error.title(),
        "status": error.status,
        "detail": error.title(),
        "code": error.code,
        "executed": error.executed,
    }
