"""No metric is promised that nothing feeds."""

from pathlib import Path

import pytest

from chimera.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path: path.read_text()
    for room in ("chimera", "actors")
    for path in (ROOT / room).rglob("*.py")
    if path.name != "catalogue.py"
}


@pytest.mark.parametrize("name", [metric.name for metric in CATALOGUE])
def test_a_metric_has_a_source(name: str):
    """Its name stands in the code that counts it, not only in the catalogue."""
    assert any(f'"{name}"' in text or f'"{name.removeprefix("chimera_")}"' in text for text in SOURCES.values()), name
