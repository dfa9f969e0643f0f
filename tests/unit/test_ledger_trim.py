"""How many final tasks the ledger keeps between two rounds of housekeeping."""

from msgspec.structs import replace

from actors.queueing import states
from actors.queueing.ledger import Ledger
from actors.queueing.records import New, Spec

SPEC = Spec(
    id="t", agent="a", task="predict", input=b"\x80", level=2, deadline=0, not_before=0, limit_s=30, attempts=3,
    first_s=1, factor=2, most_s=300, jitter=0.2, key="", labels=(), callback="", keep_s=3600, submitted_at=0,
)  # fmt: skip


def test_the_oldest_ends_go_once_a_twentieth_more_than_allowed_is_kept() -> None:
    """At any rate of tasks 3150 are kept at most of 3000; the newest stay, and so do all that are not final."""
    ledger, most = Ledger(keep_finished=3000), 0
    ledger.apply(New(replace(SPEC, id="waits"), states.submitted(SPEC, 0.0)))
    for number in range(9000):
        spec = replace(SPEC, id=f"t{number}")
        ledger.apply(New(spec, states.submitted(spec, float(number))))
        ledger.move(ledger.tasks[spec.id], states.cancelled(ledger.tasks[spec.id].status, float(number)))
        ledger.trim()
        most = max(most, len(ledger.finished))
    assert most == 3150
    assert {"waits", "t8999", "t6000"} <= ledger.tasks.keys()
    assert "t5000" not in ledger.tasks
    assert len(ledger.tasks) == len(ledger.finished) + 1
