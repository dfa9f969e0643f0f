"""What every test gets: the asyncio backend, and an environment without our own variables."""

import os

import pytest

for _name in [name for name in os.environ if name.startswith("CHIMERA_")]:
    del os.environ[_name]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Tests run on asyncio, the backend that nats-py needs."""
    return "asyncio", {}
