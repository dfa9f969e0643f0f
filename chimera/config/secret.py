"""What must not be shown, told by the name of a field or by the look of a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

HIDDEN = "***"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = frozenset({
    "password", "passwd", "passphrase", "secret", "secrets", "token", "tokens", "seed", "nkey", "authorization",
    "bearer", "credential", "credentials", "apikey", "cookie", "jwt", "dsn",
})  # fmt: skip
_PAIRS = frozenset({("api", "key"), ("private", "key"), ("access", "key")})
_USERINFO = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/'\"]+@")
_PARAMETER = re.compile(r"([?&](?:password|passwd|sslpassword|token)=)[^&\s'\"]+", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_SEED = re.compile(r"\bS[UAOCNX][A-Z2-7]{56}\b")
_MAX_DEPTH = 12


@lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """True if a field of this name holds a secret: ``api_key``, ``httpToken``, ``Authorization``."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return any(word in _SECRET for word in words) or any(pair in _PAIRS for pair in pairwise(words))


def redact_text(text: str) -> str:
    """``text`` without user, password and tokens in URLs, bearer tokens and nkey seeds."""
    if "://" in text:
        text = _PARAMETER.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", text))
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    return _SEED.sub(HIDDEN, text)


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """``value`` with its secrets hidden. Numbers and switches stay: a seed of a random generator is no secret."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if name and is_secret_name(name):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    return _redact_container(value, depth)


def _redact_container(value: Any, depth: int) -> Any:
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return value
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): redact(item, str(key), depth + 1) for key, item in items}
    return [redact(item, "", depth + 1) for item in cast("list[Any]", value)]
