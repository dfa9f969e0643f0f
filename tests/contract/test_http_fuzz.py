"""schemathesis drives port 8000 by its own document: no 5xx, no undocumented answer, nothing invalid accepted."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings

from chimera.http import BridgeSettings
from tests.support.bridge import TOKEN, Rig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    import schemathesis
    from schemathesis.core import NotSet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class RunningClockRig(Rig):
    """The usual doubles, on a host name that schemathesis uses, with time that runs."""

    def __init__(self) -> None:
        super().__init__(settings=BridgeSettings(allowed_hosts=("testserver",)))
        self.clock.monotonic = time.monotonic  # pyright: ignore[reportAttributeAccessIssue] - durations are recorded


rig = RunningClockRig()
schema: Any = schemathesis.openapi.from_asgi("/openapi.json", rig.app)
keys = itertools.count()


def portable(value: Any) -> Any:
    """``26.0`` as ``26`` and integers in 64 bits: JSON Schema can't tell these apart, the bridge refuses the former."""
    if isinstance(value, dict):
        return {name: portable(child) for name, child in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [portable(child) for child in cast("list[Any]", value)]
    if isinstance(value, int):
        return max(-(1 << 63), min(value, (1 << 64) - 1))
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large),
)
def test_document_is_kept(case: Any) -> None:
    """Whatever the document allows or forbids is answered as the document says."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if key is not None and re.fullmatch(r"[\x21-\x7e]{1,128}", str(key)):
        case.headers["Idempotency-Key"] = f"fresh-{next(keys)}"  # a valid key is new, else 422 is the right answer
    if not isinstance(case.body, NotSet):
        case.body = portable(case.body)
    case.call_and_validate(headers={"authorization": f"Bearer {TOKEN}"})
