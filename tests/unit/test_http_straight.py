"""The short way to fixed paths answers what Starlette's router would."""

from typing import Any

import pytest
from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send

from chimera.http.straight import Straight
from subjects import Port
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio


class Endpoint:
    """Notes the scopes it is given."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, *_: Receive | Send) -> None:
        self.scopes.append(scope)


async def receive() -> Any:
    """Nothing ever comes."""
    raise AssertionError


async def send(message: Any) -> None:
    """Nothing is ever sent."""
    raise AssertionError(message)


def request(path: str, **more: Any) -> Scope:
    """The scope of a GET."""
    return {"type": "http", "method": "GET", "path": path, **more}


@pytest.mark.parametrize("port", list(Port))
def test_no_route_with_parameters_stands_before_a_fixed_path(port: Port) -> None:
    """For every fixed path of every port, the router's first match is the very route that the table holds."""
    routes = [route for route in Rig(port=port).app.routes if isinstance(route, Route)]
    fixed = [route for route in routes if "{" not in route.path]
    for route in fixed:
        first = next(other for other in routes if other.matches(request(route.path))[0] is Match.FULL)
        assert first is route, f"{first.path} takes what is for {route.path}"
    assert len({route.path for route in fixed}) == len(fixed) > 5


@pytest.mark.parametrize(
    ("scope", "calls"),
    [
        (request("/fixed"), 0),
        (request("/things/one"), 1),
        (request("/nowhere"), 1),
        (request("/fixed/"), 1),
        (request("/app/fixed", root_path="/app"), 1),
        ({"type": "lifespan"}, 1),
        ({"type": "websocket", "path": "/fixed"}, 1),
    ],
)
async def test_the_router_is_asked_for_all_but_fixed_paths(
    monkeypatch: pytest.MonkeyPatch, scope: Scope, calls: int
) -> None:
    """Parameters, unknown paths, a mounted application, lifespan and websockets go to the router; a fixed path not."""
    router, asked = Router([Route("/fixed", Endpoint()), Route("/things/{name}", Endpoint())]), Endpoint()

    async def ask(_: Router, scope: Scope, *rest: Receive | Send) -> None:
        await asked(scope, *rest)

    monkeypatch.setattr(Router, "__call__", ask)
    await Straight(router)(scope, receive, send)
    assert len(asked.scopes) == calls


async def test_the_first_of_two_equal_paths_answers_as_the_router_has_it() -> None:
    """Two routes of one path: the first one takes the request, both ways, with empty parameters."""
    first, second = Endpoint(), Endpoint()
    router = Router([Route("/same", first), Route("/same", second)])
    for app in (Straight(router), router):
        await app(request("/same"), receive, send)
    assert [scope["path_params"] for scope in first.scopes] == [{}, {}]
    assert not second.scopes


async def test_methods_that_a_fixed_path_lacks_are_refused_with_those_it_has() -> None:
    """The short way knows 405 with Allow, too."""
    async with Rig().client() as client:
        response = await client.delete("/predict")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
