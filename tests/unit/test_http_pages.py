"""Pages: JSON is the default, HTML for those who like it better, and then with a policy that lets nothing in."""

from __future__ import annotations

import pytest

from chimera.errors import BadSettingError, NoAgentError, UnavailableError
from chimera.http import BridgeSettings
from chimera.http.accept import prefers_html
from chimera.http.paged import load_renderer
from subjects.agent import AgentList, AgentView, ShowAgent
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio

PAGE = f"{__name__}:page"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def page(reply: AgentList) -> str:
    """A page of a reply."""
    return f"<!doctype html><p>{reply.node}: é</p>"


def needs(reply: AgentList) -> list[ShowAgent]:
    """What a page needs besides its reply."""
    return [ShowAgent(name=name) for name in ("one", "two")] if reply.node == "more" else []


def wide_page(reply: AgentList, *shown: AgentView | None) -> str:
    """A page of a reply and of what it needs besides."""
    return f"<!doctype html><p>{reply.node}: {[one and one.name for one in shown]}</p>"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False), ("*/*", False), ("application/json", False), ("text/html", True), (BROWSER, True),
        ("text/html, application/json", False), ("text/html;q=0.5, application/json", False),
        ("application/json;q=0.5, text/html", True), ("TEXT/HTML ; Q=1.0", True), ("text/*", False),
        ("text/html;q=0", False), ("text/html;q=0.001", True), ("text/html;q=0.2, */*;q=0.3", False),
        ("text/html;level=1;q=0.9, */*;q=0.1", True), ("text/html;q=nan", False), ("text/html;q=-1", False),
        ("text/html;q=0, */*", False), ("application/*, text/html;q=0.9", False), (";;,,/html", False),
    ],
)  # fmt: skip
def test_the_better_liked_form_is_given(accept: str, html: bool):  # noqa: FBT001 - a row of the table
    """By quality, the most specific range first; JSON where both are liked as well (RFC 9110, 12.5.1)."""
    assert prefers_html(accept.encode()) is html


@pytest.fixture
def rig() -> Rig:
    """A bridge whose list of agents can be had as a page."""
    return Rig(settings=BridgeSettings(pages={"agent.list": PAGE}))


async def test_json_is_the_default(rig: Rig):
    """Without a preference the answer is the JSON it always was, and caches are told what it depends on."""
    async with rig.client() as client:
        for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
            answer = await client.get("/health/agents", headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
            assert answer.headers["vary"] == "Accept"
            assert answer.json()["agents"] == []


async def test_a_browser_gets_the_page(rig: Rig):
    """HTML with its length in bytes, and a policy that lets it load and be framed by nothing."""
    async with rig.client() as client:
        answer = await client.get("/health/agents", headers={"accept": BROWSER})
        head = await client.head("/health/agents", headers={"accept": BROWSER})
    assert answer.headers["content-type"] == head.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == "<!doctype html><p>0: é</p>"
    assert int(answer.headers["content-length"]) == len(answer.content)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert (answer.headers["vary"], answer.headers["x-content-type-options"]) == ("Accept", "nosniff")


async def test_a_page_may_need_more_than_its_reply():
    """It is asked for page by page, JSON asks for nothing; what can't be had is missing, and the page is still made."""
    rig = Rig(settings=BridgeSettings(pages={"agent.list": f"{__name__}:wide_page"}))

    async def answer(message: object) -> object:
        if isinstance(message, ShowAgent):
            if message.name == "two":
                raise NoAgentError("gone")
            return AgentView(name=message.name, state="live", live=1, candidate=None, previous=None, releases=[])
        return AgentList(node="more", agents=[])

    rig.caller.hook = answer
    async with rig.client() as client:
        assert (await client.get("/health/agents")).json()["node"] == "more"
        assert len(rig.caller.asked) == 1
        page = await client.get("/health/agents", headers={"accept": BROWSER})
    assert page.text == "<!doctype html><p>more: ['one', None]</p>"
    assert rig.caller.timeouts[-2:] == [10.0, 10.0]


async def test_errors_stay_problems(rig: Rig):
    """What goes wrong is problem+json for browsers too."""
    rig.caller.error = UnavailableError("away")
    async with rig.client() as client:
        answer = await client.get("/health/agents", headers={"accept": BROWSER})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


async def test_other_operations_have_no_page(rig: Rig):
    """Only what is named has one, on its GETs."""
    async with rig.client() as client:
        answer = await client.get("/api/integration/layer5", headers={"accept": BROWSER})
    assert answer.headers["content-type"] == "application/json"
    assert "vary" not in answer.headers


def test_a_renderer_is_named_by_module_and_function():
    """The shipped one is there; a wrong name says which."""
    assert load_renderer("actors.refining.page:render").__name__ == "render"
    for wrong in ("actors.refining.page:nothing", "actors.nowhere:render", "render"):
        with pytest.raises(BadSettingError, match=wrong):
            load_renderer(wrong)
