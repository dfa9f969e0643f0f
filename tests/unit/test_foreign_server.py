"""What a node that uses another node's server is told, and what it says when that can't work."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from chimera.clock import SystemClock
from chimera.config import Settings, load
from chimera.errors import BadSettingError
from chimera.metrics import Metrics
from chimera.node.parts import Parts
from chimera.node.services import Services
from chimera.system import System

pytestmark = pytest.mark.anyio


def settings(tmp_path: Path, **flags: object) -> Settings:
    """Settings of a node without a server of its own."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load(env={"HOME": str(tmp_path)}, flags={"nats.url": "nats://127.0.0.1:1", **given}).settings


def opened(tmp_path: Path, **flags: object) -> Any:
    """The bus that such a node makes, not yet connected."""
    chosen, clock = settings(tmp_path, **flags), SystemClock()
    rng = random.Random(1)  # noqa: S311 - no secret
    parts = Parts(settings=chosen, clock=clock, rng=rng, metrics=Metrics(node="n1"))
    return Services(System(node="n1", clock=clock), parts).open_bus()


async def test_replies_are_taken_where_the_credentials_may(tmp_path: Path):
    """The reply subjects of a node's bus lie below the prefix of its settings."""
    assert opened(tmp_path, nats__inbox_prefix="_INBOX_runtime").inbox.startswith("_INBOX_runtime.")
    assert opened(tmp_path).inbox.startswith("_INBOX.")


@pytest.mark.parametrize("prefix", ["_INBOX.", "a b", "_INBOX.*", ""])
async def test_a_prefix_that_is_no_subject_is_refused(tmp_path: Path, prefix: str):
    """The error names the setting."""
    with pytest.raises(BadSettingError, match=r"nats\.inbox_prefix"):
        opened(tmp_path, nats__inbox_prefix=prefix)


async def test_a_seed_file_that_is_not_there_is_named(tmp_path: Path):
    """The error says which setting names which file."""
    with pytest.raises(BadSettingError, match=r"nats\.seed_file: .*absent\.nk"):
        opened(tmp_path, nats__seed_file=str(tmp_path / "absent.nk"))


async def test_copies_need_a_cluster(tmp_path: Path):
    """With our own server, which is one, the error names the setting and the one that says where a cluster is."""
    with pytest.raises(BadSettingError, match=r"nats\.replicas: our own server is one, not 3") as refused:
        opened(tmp_path, nats__url="", nats__replicas=3)
    assert "nats.url" in str(refused.value.hint)
