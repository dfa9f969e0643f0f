"""The way of a request to its endpoint: fixed paths by one look into a table, all else by Starlette's router."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import Access
from .desk import Desk


class Straight:
    """Requests for a fixed path go straight to its endpoint; every other one, and the lifespan, to the router.

    The router matches one regular expression after the other and gives no other answer: no path here has parameters
    that could stand for a fixed one (fixed paths stand first, and a test holds it).

    Args:
        router: Knows all routes.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._apps: dict[str, ASGIApp] = {}
        for route in router.routes:
            if isinstance(route, Route) and "{" not in route.path:
                self._apps.setdefault(route.path, route.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        app = self._apps.get(scope["path"]) if scope["type"] == "http" and not scope.get("root_path") else None
        if app is None:
            await self._router(scope, receive, send)
            return
        scope["path_params"] = {}
        await app(scope, receive, send)


class PortApp(Starlette):
    """A Starlette without its own error layers: ``Access`` answers every error, and each layer costs every request.

    Args:
        desk: What the port works with.
        routes: All of them.
        default: Takes what no route takes.
    """

    def __init__(self, desk: Desk, routes: list[Route], default: ASGIApp) -> None:
        super().__init__(routes=routes)
        self._desk = desk
        self.router.redirect_slashes = False
        self.router.default = default

    def build_middleware_stack(self) -> ASGIApp:
        """The access layer around the routes, and nothing else."""
        return Access(Straight(self.router), self._desk)
