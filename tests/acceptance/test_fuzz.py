"""schemathesis against the real system by its own document: whatever comes, the server does not fail."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.running import RunningSystem

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    import schemathesis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]

DECLARED = {502, 503}
"""What an agent's own fault and a layer that does not run yet are answered with."""
EXAMPLES = 15


def test_no_request_makes_the_server_fail(own_system: RunningSystem):
    """Generated requests to every operation: no 5xx but the declared, errors as problem+json, and all is well after."""
    schema: Any = schemathesis.openapi.from_url(f"{own_system.base}/openapi.json")
    seen: Counter[int] = Counter()
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation in operations:
        ask_all(operation, seen)
    assert len(operations) > 10
    assert seen[200] > 10
    assert seen.total() > 10 * len(operations)
    assert own_system.http.get("/readyz").status_code == 200
    assert not [event for event in own_system.events() if event["event"] == "actor-crashed"]


def ask_all(operation: Any, seen: Counter[int]) -> None:
    """Generated requests to one operation."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        response = case.call(timeout=30)
        seen[response.status_code] += 1
        assert response.status_code < 500 or response.status_code in DECLARED, (case.as_curl_command(), response.text)
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"], case.as_curl_command()

    ask()
