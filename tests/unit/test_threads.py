"""Numeric libraries compute in the thread that calls them."""

import os
import subprocess
import sys

import pytest

from chimera.threads import NUMERIC, one_thread_each

_NODE = """
import os, sys
from chimera.config import load
from chimera.node import Node
assert "numpy" not in sys.modules, "numpy is loaded before the node could say how many threads it gets"
Node(load().settings)
print(os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"])
"""


def test_what_the_user_says_counts():
    """A variable that is set stays, the other becomes 1."""
    environment = {NUMERIC[0]: "4"}
    one_thread_each(environment)
    assert environment == {NUMERIC[0]: "4", NUMERIC[1]: "1"}


def test_every_test_runs_so():
    """The test-suite itself keeps to one thread."""
    assert all(os.environ.get(name) for name in NUMERIC)


@pytest.mark.slow
def test_a_node_says_it_before_numpy_is_loaded():
    """A node that is made in a fresh process asks for one thread while that still has an effect."""
    environment = {name: value for name, value in os.environ.items() if name not in NUMERIC}
    ran = subprocess.run([sys.executable, "-c", _NODE], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["1", "1"], ran.stderr
