"""An operation that also answers with a page, to clients that like HTML better than JSON."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import anyio.to_thread
from starlette.types import Scope

from chimera.errors import BadSettingError
from chimera.pictures.page import CONTENT_POLICY
from subjects import Http, Operation

from .accept import prefers_html
from .desk import Desk, headers_of
from .endpoint import OperationEndpoint
from .patience import Patience
from .problems import Headers, json_headers

Renderer = Callable[[Any], str]
_POLICY = f"{CONTENT_POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode()
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
        return await anyio.to_thread.run_sync(self._render, reply)

    def _render(self, reply: Any) -> bytes:
        return load_renderer(self._page)(reply).encode()


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


def _wants_page(scope: Scope) -> bool:
    return prefers_html(headers_of(scope).get(b"accept"))
