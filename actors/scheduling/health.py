"""How the scheduler does, in one answer."""

from __future__ import annotations

from collections.abc import Mapping

from subjects.scheduler import SchedulerHealth

from .core import Core
from .views import depths, oldest_age_s, stuck_tasks


def health_of(core: Core, *, leader: str, alarms: Mapping[str, str]) -> SchedulerHealth:
    """Its checks, each from what is now.

    Args:
        core: The leader's state.
        leader: Its node.
        alarms: Streams that went back, and what to do about it.
    """
    control = core.ledger.control
    checks = {"log": f"fail: {core.journal.trouble}" if core.journal.trouble else "ok"}
    stuck, dead = len(stuck_tasks(core)), len(core.letters)
    checks["stuck"] = f"warn: {stuck} tasks do not get on" if stuck else "ok"
    checks["dead"] = f"warn: {dead} dead letters" if dead else "ok"
    if core.letters.trouble:
        checks["letters"] = f"warn: {core.letters.unsent} wait to be written: {core.letters.trouble}"
    checks |= {stream.lower(): f"warn: {what}" for stream, what in alarms.items()}
    verdicts = {text.partition(":")[0] for text in checks.values()}
    return SchedulerHealth(
        status="fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass", node=core.node,
        leader=leader, epoch=core.ledger.epoch, depth=depths(core), oldest_age_s=oldest_age_s(core),
        in_flight=len(core.ledger.running), consumers=sum(lane.aimd.limit for lane in core.lanes),
        paused=control.paused, draining=control.draining, checks=checks,
    )  # fmt: skip
