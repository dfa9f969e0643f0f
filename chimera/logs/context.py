"""Who is at work: bound once, it stands on every line that is logged inside."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_EMPTY: Mapping[str, str] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str]] = ContextVar("chimera_log_context", default=_EMPTY)


@contextmanager
def bound(*, actor: str = "", node: str = "", trace: str = "", message_id: str = "") -> Generator[None]:
    """Lines logged inside carry these; what is empty stays as it was outside. Tasks started inside inherit them."""
    given = {"actor": actor, "node": node, "trace": trace, "message_id": message_id}
    token = _bound.set({**_bound.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)


def bound_now() -> Mapping[str, str]:
    """What is bound where this is called."""
    return _bound.get()
