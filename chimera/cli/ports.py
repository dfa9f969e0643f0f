"""Plain HTTP from the command line to the bridge of this machine, timed."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import msgspec

from chimera.errors import NotRunningError

if TYPE_CHECKING:
    from chimera.config import Settings

LAYERS = ("agent", "scheduler", "refinement", "evolution", "resources")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and how long it took, connection included. ``status`` 0 = nobody answered; ``body`` says why."""

    status: int
    body: Any
    seconds: float

    def member(self, name: str, default: Any) -> Any:
        """A member of a JSON object; ``default`` if the body is none or has it not."""
        body: Any = self.body
        return cast("dict[str, Any]", body).get(name, default) if type(body) is dict else default


def base_urls(settings: Settings) -> dict[str, str]:
    """Role to base URL: from the running node if there is one here, else from the settings."""
    from chimera.node.runfile import read_run_file

    found = read_run_file(settings.node.data)
    if found is not None:
        return found.http
    http = settings.http
    return {role: f"http://{http.host}:{getattr(http.ports, role)}" for role in LAYERS}


def fetch(base: str, path: str, *, body: Any = None, timeout_s: float = 5.0) -> Answered:
    """GET, or POST with a JSON body; never raises for what the other side does."""
    parts = urlsplit(base)
    started = time.perf_counter()
    connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port, timeout=timeout_s)
    try:
        payload = None if body is None else msgspec.json.encode(body)
        connection.request("GET" if body is None else "POST", path, payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read(16 << 20)
        return Answered(answer.status, _decoded(data), time.perf_counter() - started)
    except (OSError, http.client.HTTPException) as error:
        return Answered(0, str(error) or type(error).__name__, time.perf_counter() - started)
    finally:
        connection.close()


def need_node(answers: dict[str, Answered]) -> None:
    """Refuse to go on if nobody answered at all.

    Raises:
        NotRunningError: With where to look.
    """
    if not any(answer.status for answer in answers.values()):
        raise NotRunningError(
            "no service answers", hint="start it with: chimera run; see where it should be: chimera config show http."
        )


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data.decode("utf-8", "replace")
