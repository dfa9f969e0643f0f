"""Each declared operation is reachable where its document says, and the documents say exactly what is served."""

import re
from functools import cache
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from chimera.documents import DOCUMENTS, asyncapi, openapi, render_document, write_documents
from chimera.documents.schema import GENERAL_ERRORS
from chimera.errors import ERRORS
from chimera.http.app import Methods
from chimera.pages import PAGES
from chimera.paths import configs_dir
from subjects import EVENTS, OPERATIONS, Http, Operation, Port
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio

FACES = [(operation, face) for operation in OPERATIONS for face in operation.http]
PORTS = sorted({operation.port for operation in OPERATIONS})


@cache
def document_of(port: Port) -> dict[str, Any]:
    """The document of a port, made once."""
    return openapi(port)


async def send_example(client: httpx.AsyncClient, operation: Operation[Any, Any], face: Http) -> httpx.Response:
    """Send the operation's own example to one of its faces."""
    path = face.path.format(**operation.example)
    body = {name: value for name, value in operation.example.items() if f"{{{name}}}" not in face.path}
    if face.method in {"POST", "PUT"}:
        return await client.request(face.method, path, json=body)
    return await client.request(face.method, path, params=body)


@pytest.mark.parametrize(("operation", "face"), FACES, ids=lambda value: getattr(value, "name", None) or value.path)
async def test_example_reaches_its_actor(operation: Operation[Any, Any], face: Http) -> None:
    """The documented example, sent to the documented place, arrives as the declared request and is answered."""
    rig = Rig(port=operation.port)
    async with rig.client() as client:
        response = await send_example(client, operation, face)
    assert response.status_code == face.status, response.text
    assert isinstance(rig.caller.asked[0], operation.request)


@pytest.mark.parametrize(("operation", "face"), FACES, ids=lambda value: getattr(value, "name", None) or value.path)
async def test_every_declared_error_is_answered_and_documented(operation: Operation[Any, Any], face: Http) -> None:
    """Each error that the operation can raise keeps its code on the way out, with a status that its document lists."""
    responses = document_of(operation.port)["paths"][face.path][face.method.lower()]["responses"]
    rig = Rig(port=operation.port)
    async with rig.client() as client:
        for code in {*GENERAL_ERRORS, *operation.errors}:
            rig.caller.error = ERRORS[code]()
            response = await send_example(client, operation, face)
            assert response.json()["code"] == code
            assert str(response.status_code) in responses


@pytest.mark.parametrize("port", list(Port))
def test_document_lists_exactly_what_is_served(port: Port) -> None:
    """No route without a path in the document, no path without a route."""
    served = {
        (route.path, method)
        for route in Rig(port=port).app.routes
        if isinstance(route, Route) and isinstance(route.endpoint, Methods)
        for method in route.endpoint.endpoints
        if method != "HEAD"
    }
    described = {(path, method.upper()) for path, item in document_of(port)["paths"].items() for method in item}
    assert served == described


@pytest.mark.parametrize("port", PORTS)
async def test_port_serves_its_document(port: Port) -> None:
    """GET /openapi.json is the generated document."""
    async with Rig(port=port).client() as client:
        assert (await client.get("/openapi.json")).json() == document_of(port)


@pytest.mark.parametrize("make", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_reference_leads_somewhere(make: Any) -> None:
    """No $ref in a document points at nothing."""
    document = make()

    found = re.findall(r'"\$ref": "([^"]+)"', render_document(document))
    assert found
    for reference in found:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_asyncapi_has_every_subject_and_event() -> None:
    """A channel with the subject, a reply and a queue group per operation; a channel per event."""
    document = asyncapi()
    for operation in OPERATIONS:
        assert document["channels"][operation.name]["address"] == operation.subject
        assert document["operations"][operation.name]["bindings"]["nats"]["queue"] == operation.actor
        assert document["operations"][operation.name]["reply"]["channel"]["$ref"].endswith(f"{operation.name}.reply")
    assert {event.subject for event in EVENTS} <= {
        channel.get("x-chimera-subject") for channel in document["channels"].values()
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_committed_documents_have_not_drifted(name: str) -> None:
    """The committed file is what the code generates; if not, run ``chimera docs`` and commit."""
    committed = (configs_dir() / "documents" / name).read_text()
    assert committed == render_document(DOCUMENTS[name]()), f"configs/documents/{name} is out of date"


def test_documents_are_written_only_when_they_change(tmp_path: Any) -> None:
    """Writing twice writes once."""
    assert sorted(path.name for path in write_documents(tmp_path)) == sorted(DOCUMENTS)
    assert write_documents(tmp_path) == []


def test_pages_are_in_the_documents_where_they_are_answered() -> None:
    """An operation that answers HTML by the Accept header says so, on GET only; every other one promises JSON alone."""
    found = {
        item["operationId"]
        for port in PORTS
        for path in document_of(port)["paths"].values()
        for method, item in path.items()
        if "text/html" in item["responses"].get("200", {}).get("content", {})
        and "application/json" in item["responses"]["200"]["content"]
        and method == "get"
    }
    assert found == set(PAGES)
