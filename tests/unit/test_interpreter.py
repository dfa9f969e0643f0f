"""The interpreter of a node that has started."""

import subprocess
import sys

_PROGRAM = """
import gc
import sys
from chimera.interpreter import SWITCH_S, THRESHOLDS, calm
circle = []
circle.append(circle)
calm()
assert gc.get_freeze_count() > 1000, gc.get_freeze_count()
assert gc.get_threshold()[:2] == THRESHOLDS[:2], gc.get_threshold()
class Late: pass
assert abs(sys.getswitchinterval() - SWITCH_S) < 1e-6
late = Late()
late.own = late
import weakref
gone = weakref.ref(late)
del late
gc.collect()
assert gone() is None
"""


def test_what_existed_is_left_alone_and_new_circles_are_still_found() -> None:
    """After ``calm`` the start's objects are frozen, collections are rarer, and a circle made later is collected.

    Threads that compute give way sooner.
    """
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, timeout=60)
