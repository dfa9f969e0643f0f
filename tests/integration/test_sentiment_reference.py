"""The agent held against human ratings and against the Python package, on the texts of the pinned distribution.

Neither texts nor package are part of the repository: the tests read the archive that ``python -m edge.guests.build``
(or its ``--check``) leaves in the user's cache, and are skipped without it.
"""

import importlib.util
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chimera import reference
from edge.guests import shipped_guest
from edge.guests.plain import PlainGuest
from tests.support.archives import unpack

ARCHIVE = reference.cached_archive()
MISSING = f"needs {reference.cached_path()}: run python -m edge.guests.build --check"
pytestmark = pytest.mark.skipif(ARCHIVE is None, reason=MISSING)


@pytest.fixture(scope="module")
def score() -> Callable[[str], float]:
    """The agent's compound score of a text."""
    guest = PlainGuest(shipped_guest("sentiment").module)
    return lambda text: json.loads(guest.call("predict", json.dumps({"text": text}).encode()))["compound"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Python package's own analyser, loaded from the archive."""
    assert ARCHIVE
    folder = tmp_path_factory.mktemp("reference")
    unpack(ARCHIVE, folder)
    name = reference.DISTRIBUTION
    path = folder / f"{name}-{reference.VERSION}" / name / f"{name}.py"
    return load_module(path).SentimentIntensityAnalyzer()


def load_module(path: Path) -> Any:
    """A module from a file, without a trace in sys.modules."""
    spec = importlib.util.spec_from_file_location("reference_package", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> list[tuple[float, str]]:
    """Ratings and texts of one data set."""
    assert ARCHIVE
    return reference.read_ratings(ARCHIVE, name)


@pytest.mark.parametrize(
    ("name", "texts", "correlation", "accuracy"),
    [("tweets", 4200, 0.88, 0.94), ("amazonReviewSnippets", 3708, 0.59, 0.70)],
)
def test_agent_agrees_with_people(
    score: Callable[[str], float], name: str, texts: int, correlation: float, accuracy: float
):
    """On texts that people did not find neutral, scores correlate with their ratings and have the same sign."""
    rated = read(name)
    assert len(rated) == texts
    clear = [(rating, score(text)) for rating, text in rated if abs(rating) > 0.1]
    assert statistics.correlation(*zip(*clear, strict=True)) >= correlation
    same_sign = sum((rating > 0) == (ours > 0) for rating, ours in clear)
    assert same_sign / len(clear) >= accuracy


# The package leaves its files to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["tweets", "amazonReviewSnippets"])
def test_agent_agrees_with_the_package(score: Callable[[str], float], package: Any, name: str):
    """Compound scores are the package's on all texts but one in a thousand, and correlate with Pearson's r > 0.9999."""
    texts = [text for _, text in read(name)]
    ours = [score(text) for text in texts]
    theirs = [package.polarity_scores(text)["compound"] for text in texts]
    different = sum(abs(left - right) > 1e-4 for left, right in zip(ours, theirs, strict=True))
    assert different <= len(texts) / 1000
    assert statistics.correlation(ours, theirs) > 0.9999
