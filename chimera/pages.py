"""Which operations also answer with a page, to clients that like HTML better than JSON."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PAGES: Mapping[str, str] = MappingProxyType({
    "optimizer.daily_report": "actors.refining.page:render",
    "optimizer.weekly_report": "actors.refining.page:render",
})  # fmt: skip
"""Operation to ``module:function`` that makes HTML of its reply; loaded when first wanted."""
