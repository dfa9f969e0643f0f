"""``python -m tests.calibration [--quick] [--write]``: how often the gate's statistics are wrong, and what they cost.

Simulation with seeds. The exit code is 1 if a bound is missed. ``--write`` replaces the committed table.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.calibration.case import Result, measured
from tests.calibration.speed import speeds
from tests.calibration.table import CASES, DATA, TABLE, data, document


def main() -> int:
    """Measure every case, say which bounds hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few experiments of each kind")
    parser.add_argument("--write", action="store_true", help="write the table of the full form")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("the table holds the full form: --write without --quick")
    results: list[Result] = []
    for case in CASES:
        began = time.monotonic()
        one = measured(case, "quick" if options.quick else "full")
        results.append(one)
        verdict = {None: "     ", True: "holds", False: "MISSED"}[one.holds]
        print(f"{verdict:7}{one.value:10.4g}  {case.name}  ({one.runs}, {time.monotonic() - began:.1f} s)", flush=True)
    for name, fold, look in speeds():
        print(f"{fold:7.1f} us a message, {look:6.1f} us a look: {name}")
    if options.write:
        TABLE.write_text(document(results), encoding="utf-8")
        DATA.write_bytes(data(results))
        print(f"wrote {TABLE} and {DATA}")
    return int(any(one.holds is False for one in results))


if __name__ == "__main__":
    sys.exit(main())
