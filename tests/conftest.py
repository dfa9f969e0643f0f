"""What every test gets: the asyncio backend, one thread for numpy, and an environment without our own variables."""

import os

import pytest

from chimera.threads import one_thread_each

one_thread_each()
for _name in [name for name in os.environ if name.startswith("CHIMERA_")]:
    del os.environ[_name]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Tests run on asyncio, the backend that nats-py needs."""
    return "asyncio", {}
