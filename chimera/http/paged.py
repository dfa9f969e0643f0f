"""An operation that also answers with a page, to clients that like HTML better than JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import anyio.to_thread
from starlette.types import Scope

from chimera.errors import BadSettingError, ChimeraError
from chimera.pictures.page import CONTENT_POLICY
from subjects import Http, Operation, Request

from .accept import prefers_html
from .desk import Desk, headers_of
from .endpoint import OperationEndpoint
from .patience import Patience
from .problems import Headers, json_headers

Renderer = Callable[..., str]
"""Makes a page of a reply, and of the replies to what the page ``needs`` besides; ``None`` for one that failed."""

Needs = Callable[[Any], Sequence[Request[Any]]]
"""What else is to be asked for the page of a reply: a function ``needs`` beside the renderer, where there is one."""

_POLICY = f"{CONTENT_POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode()
_MORE_S = 10.0
_VARY = (b"vary", b"Accept")


class PagedEndpoint(OperationEndpoint):
    """JSON by default; HTML where the Accept header prefers it. Pages may load nothing and be framed by nobody.

    Args:
        desk: The parts to work with.
        operation: What is asked.
        face: Its route.
        page: ``module:function`` that makes HTML of a reply.
    """

    def __init__(self, desk: Desk, operation: Operation[Any, Any], face: Http, page: str) -> None:
        super().__init__(desk, operation, face)
        self._page = page

    def _headers(self, scope: Scope, length: int) -> Headers:
        if not _wants_page(scope):
            return [*json_headers(length), _VARY]
        policy = (b"content-security-policy", _POLICY)
        return [*json_headers(length, b"text/html; charset=utf-8"), policy, (b"referrer-policy", b"no-referrer"), _VARY]

    async def _ask(self, scope: Scope, body: bytes, patience: Patience) -> bytes:
        if not _wants_page(scope):
            return await super()._ask(scope, body, patience)
        reply = await self._reply(scope, body, patience)
        needs = await anyio.to_thread.run_sync(load_needs, self._page)
        more = [await self._more(message, patience) for message in needs(reply)] if needs is not None else []
        return await anyio.to_thread.run_sync(self._render, reply, *more)

    def _render(self, reply: Any, *more: Any) -> bytes:
        return load_renderer(self._page)(reply, *more).encode()

    async def _more(self, message: Request[Any], patience: Patience) -> Any:
        """The answer to something else that the page shows; ``None`` if there is none: the page says so."""
        patience.wind(_MORE_S + self._desk.settings.margin_s, "deadline")
        try:
            return await self._desk.caller.ask(message, timeout_s=_MORE_S)
        except ChimeraError:
            return None
        finally:
            patience.unwind()


def load_renderer(page: str) -> Renderer:
    """The function that ``module:function`` names.

    Raises:
        BadSettingError: If there is none.
    """
    module, _, name = page.partition(":")
    try:
        found: Renderer = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadSettingError(f"the page {page} can't be loaded: {error}") from error
    return found


def load_needs(page: str) -> Needs | None:
    """The function that says what else a page needs; ``None`` if the reply is enough.

    Raises:
        BadSettingError: If there is no such page.
    """
    load_renderer(page)
    found: Needs | None = getattr(import_module(page.partition(":")[0]), "needs", None)
    return found


def _wants_page(scope: Scope) -> bool:
    return prefers_html(headers_of(scope).get(b"accept"))
