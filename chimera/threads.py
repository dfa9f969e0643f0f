"""One thread for each numeric library: on a machine with other work their threads cost more than they bring."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

NUMERIC = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""What numpy's libraries read once, when they are loaded."""


def one_thread_each(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let numeric libraries compute in the thread that calls them, unless the user has said otherwise.

    Must come before numpy is imported. Matrices here are small; and sums of several threads come in another order
    each time, so that a proposal made again after a crash would differ in its last bits.
    """
    for name in NUMERIC:
        environment.setdefault(name, "1")
