"""What the suites of the broker share."""

from __future__ import annotations

from typing import Any

import pytest

from chimera.bus import Bus


@pytest.fixture
async def second(nodes: Any) -> Bus:
    """The bus of another node. Name it first: what is begun first ends last."""
    return await nodes.join()
