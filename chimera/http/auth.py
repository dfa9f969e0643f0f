"""Who may do what: the bearer token, the Host allow-list, and where a browser's unsafe request may come from."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chimera.errors import BadSettingError, DeniedError, UnauthorizedError
from chimera.metrics import Metrics
from subjects import Operation

from .settings import BridgeSettings, is_loopback

TOKEN_FILE = Path("secrets") / "http-token"
"""Where the token lies below the data folder."""

_MAX_KNOWN_HOSTS = 64
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OWN_SITES = frozenset({b"same-origin", b"none"})


def ensure_token(data: Path) -> str:
    """The bearer token of a data folder, made at the first start; the file is for its owner only.

    Raises:
        BadSettingError: If it can't be written or read, is open to others, or is too short to be a secret.
    """
    path = data / TOKEN_FILE
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettingError(f"the token can't be written to {path}: {error.strerror}; see node.data_dir") from error
    if path.exists():
        return _read_token(path)
    from chimera.server import write_private  # noqa: PLC0415 - only a first start needs it

    token = secrets.token_urlsafe(32)
    write_private(path, f"{token}\n".encode())
    return token


def _read_token(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise BadSettingError(f"{path} is open to others", hint=f"chmod 600 {path}, and replace the token")
        token = path.read_text().strip()
    except OSError as error:
        raise BadSettingError(f"{path} can't be read: {error.strerror}") from error
    if len(token) < 16:  # noqa: PLR2004 - 96 bits in base64
        raise BadSettingError(f"{path} holds no usable token", hint="delete it; a new one is made at the next start")
    return token


class Door:
    """Decides at the door. Keeps a hash of the token only.

    Args:
        settings: Host, token mode and allow-lists.
        token: The bearer token; may be empty where none is ever asked for.
        metrics: Where refusals are counted, by reason.
    """

    def __init__(self, settings: BridgeSettings, token: str, metrics: Metrics) -> None:
        self._settings = settings
        self._digest = hashlib.sha256(token.encode()).digest() if token else b""
        self._metrics = metrics
        self._known_hosts: set[bytes] = set()
        self._checks_host = settings.on_loopback or bool(settings.allowed_hosts)
        self._hosts = _LOCAL_HOSTS | {host.lower() for host in settings.allowed_hosts}
        self._origins = frozenset(settings.allowed_origins)

    def check_site(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuse foreign Host headers (DNS rebinding) and unsafe requests of foreign pages.

        Raises:
            DeniedError: Saying which header is the reason.
        """
        host = headers.get(b"host", b"")
        if self._checks_host and host not in self._known_hosts:
            self._check_host(host)
        if method in _UNSAFE and (b"origin" in headers or b"sec-fetch-site" in headers):
            self._check_origin(host, headers)

    def needs_token(self, operation: Operation[Any, Any]) -> bool:
        """True if the operation changes something and the settings ask for a token then."""
        if operation.safe or self._settings.token == "never":  # noqa: S105 - a mode, not a secret
            return False
        if self._settings.on_loopback:
            return self._settings.token == "always" and not operation.open  # noqa: S105 - a mode, not a secret
        return True

    def check_token(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request without the right token. The comparison takes the same time for every wrong one.

        Raises:
            UnauthorizedError: Saying what is wrong with it, never what was sent.
        """
        header = headers.get(b"authorization")
        if header is None:
            raise self._refused(UnauthorizedError(), "missing")
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer":
            raise self._refused(UnauthorizedError("the Authorization header is not 'Bearer <token>'"), "malformed")
        sent = hashlib.sha256(token.strip()).digest()
        if not self._digest or not hmac.compare_digest(sent, self._digest):
            raise self._refused(UnauthorizedError("the token is wrong"), "wrong")

    def _check_host(self, host: bytes) -> None:
        name = host.decode("latin-1").lower()
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        if host and name not in self._hosts and not is_loopback(name):
            detail = f"the Host header {name!r} is not one of this bridge's names"
            raise self._refused(DeniedError(detail, hint="add it to the setting http.allowed_hosts"), "host")
        if len(self._known_hosts) < _MAX_KNOWN_HOSTS:
            self._known_hosts.add(host)

    def _check_origin(self, host: bytes, headers: Mapping[bytes, bytes]) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin in self._origins:
            return
        own = not origin or origin.partition("://")[2].encode() == host.lower() != b""
        if not own or headers.get(b"sec-fetch-site", b"none") not in _OWN_SITES:
            detail = f"an unsafe request of a page of {origin or 'another site'!r}"
            raise self._refused(DeniedError(detail, hint="add it to the setting http.allowed_origins"), "origin")

    def _refused(self, error: DeniedError | UnauthorizedError, reason: str) -> DeniedError | UnauthorizedError:
        error.data = {"reason": reason}
        self._metrics.counter("chimera_auth_failures_total", reason).inc()
        return error
