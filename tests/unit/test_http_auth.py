"""Who may change something, and from where."""

import os
import stat
from pathlib import Path

import pytest

from chimera.errors import BadSettingError
from chimera.http import BridgeSettings, TokenMode, ensure_token
from tests.support.bridge import TOKEN, Rig

pytestmark = pytest.mark.anyio

OUTSIDE = "192.0.2.1"
BATCHING: dict[str, object] = {"batch_size": 8, "batch_timeout_ms": 5}
HELLO: dict[str, object] = {"job_id": "1", "input": {}}
BEARER = {"authorization": f"Bearer {TOKEN}"}


def rig_at(
    host: str, mode: TokenMode = "auto", *, allowed_hosts: tuple[str, ...] = (), allowed_origins: tuple[str, ...] = ()
) -> Rig:
    """One application that thinks it listens on ``host``."""
    settings = BridgeSettings(host=host, token=mode, allowed_hosts=allowed_hosts, allowed_origins=allowed_origins)
    return Rig(settings=settings)


@pytest.mark.parametrize(
    ("host", "token", "path", "body", "status"),
    [
        ("127.0.0.1", "auto", "/api/config/batching", BATCHING, 200),
        ("127.0.0.1", "always", "/api/config/batching", BATCHING, 401),
        ("127.0.0.1", "always", "/predict", HELLO, 200),
        (OUTSIDE, "auto", "/api/config/batching", BATCHING, 401),
        (OUTSIDE, "auto", "/predict", HELLO, 401),
        (OUTSIDE, "never", "/api/config/batching", BATCHING, 200),
        ("::1", "auto", "/api/config/batching", BATCHING, 200),
        ("192.0.2.1", "always", "/predict", HELLO, 401),
    ],
)
async def test_when_the_token_is_needed(
    host: str, token: TokenMode, path: str, body: dict[str, object], status: int
) -> None:
    """Changes need it off loopback; running tasks counts as a change only there."""
    rig = rig_at(host, token)
    async with rig.client() as client:
        without, given = await client.post(path, json=body), await client.post(path, json=body, headers=BEARER)
    assert (without.status_code, given.status_code) == (status, 200)


async def test_reading_needs_no_token() -> None:
    """Safe operations and the general rows are open on every address."""
    rig = rig_at(OUTSIDE)
    async with rig.client() as client:
        statuses = [
            (await client.get(path)).status_code for path in ("/health/agents", "/health", "/livez", "/metrics")
        ]
    assert statuses == [200] * 4


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing"),
        ("Basic abc", "malformed"),
        (TOKEN, "malformed"),
        ("Bearer wrong", "wrong"),
        (f"Bearer {TOKEN}x", "wrong"),
        ("Bearer ", "wrong"),
    ],
)
async def test_refusals_are_counted_and_reported(header: str | None, reason: str) -> None:
    """A refusal is 401 with a challenge, a count by reason and a security event without the token in it."""
    rig = rig_at(OUTSIDE)
    async with rig.client() as client:
        headers = {"authorization": header} if header is not None else {}
        response = await client.delete("/api/agents/echo", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert rig.metrics.counter("chimera_auth_failures_total", reason).value == 1
    events = [event for event in rig.events if event[0] == "security-event"]
    assert [event[3]["reason"] for event in events] == [reason]
    assert TOKEN not in str(rig.events)
    assert rig.caller.asked == []


async def test_refusal_comes_before_the_body_is_read() -> None:
    """Without the token nothing of the body is parsed."""
    rig = rig_at(OUTSIDE)
    async with rig.client() as client:
        response = await client.post("/api/config/batching", content=b"{broken")
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("evil.example:127.0.0.1", 403),
    ],
)
async def test_foreign_hosts_are_refused_on_loopback(host: str, status: int) -> None:
    """A page that points its own name at 127.0.0.1 gets nothing, not even what is safe."""
    rig = rig_at("127.0.0.1")
    async with rig.client() as client:
        statuses = [(await client.get("/health/agents", headers={"host": host})).status_code for _ in range(2)]
    assert statuses == [status, status]


async def test_allowed_hosts_are_allowed() -> None:
    """A name in the allow-list may be used; with a list, other names may not, on any address."""
    rig = rig_at(OUTSIDE, allowed_hosts=("box.example",))
    async with rig.client() as client:
        good = await client.get("/livez", headers={"host": "Box.example:8000"})
        bad = await client.get("/livez", headers={"host": "other.example"})
    assert (good.status_code, bad.status_code) == (200, 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://friend.example"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost"}, 403),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost"}, 200),
    ],
)
async def test_foreign_pages_can_not_change_anything(headers: dict[str, str], status: int) -> None:
    """A browser's unsafe request must come from the bridge itself or an allowed origin."""
    rig = rig_at("127.0.0.1", allowed_origins=("https://friend.example",))
    async with rig.client() as client:
        unsafe = await client.post("/api/config/batching", json=BATCHING, headers=headers)
        safe = await client.get("/health/agents", headers=headers)
    assert (unsafe.status_code, safe.status_code) == (status, 200)


def test_token_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    """The first start writes a long random token with mode 0600; later ones read it."""
    os.umask(0o022)
    token = ensure_token(tmp_path)
    path = tmp_path / "secrets" / "http-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(token) >= 43
    assert ensure_token(tmp_path) == token
    assert ensure_token(tmp_path / "other") != token


@pytest.mark.parametrize(("content", "mode"), [("x" * 43, 0o644), ("short", 0o600), ("", 0o600)])
def test_token_that_is_no_secret_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    """A file that others can read, or that holds no real token, stops the start."""
    path = tmp_path / "secrets" / "http-token"
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(BadSettingError):
        ensure_token(tmp_path)


def test_token_in_an_unwritable_place_names_the_setting(tmp_path: Path) -> None:
    """The error says which setting to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettingError, match=r"node\.data_dir"):
        ensure_token(tmp_path / "file")
