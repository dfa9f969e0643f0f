"""The SQL of the tasks' projection: named parameters, and no dialect beyond what SQLite and PostgreSQL share."""

SPEC_COLUMNS = (
    "id", "agent", "task", "priority", "submitted_at", "deadline", "max_attempts", "key", "labels", "schedule", "input",
    "keep_s",
)  # fmt: skip
"""What never changes in a task's life."""

STATUS_COLUMNS = ("state", "since", "due", "attempt", "tries", "reason", "output", "release", "keep_until", "seq")
"""How it stands, by the log's message ``seq``."""

COLUMNS = SPEC_COLUMNS + STATUS_COLUMNS
_FINAL = "('succeeded', 'dead', 'cancelled', 'expired', 'unknown')"

SAVE_TASK = f"""
INSERT INTO tasks ({", ".join(COLUMNS)}) VALUES ({", ".join(f":{name}" for name in COLUMNS)})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])}
WHERE excluded.seq > tasks.seq AND (
  tasks.seq = 0 OR excluded.state NOT IN {_FINAL} OR tasks.state <> excluded.state
  OR tasks.attempt <> excluded.attempt OR tasks.since <> excluded.since)
"""  # noqa: S608 - column names of our own
"""A final task that is written again because the log was compacted changes nothing, and costs one look."""

MOVE_TASK = """
UPDATE tasks SET state = :state, since = :since, due = :due, attempt = :attempt, tries = :tries, reason = :reason,
  output = :output, release = :release, seq = :seq,
  keep_until = CASE WHEN :kept = 1 THEN :since + keep_s END
WHERE id = :id AND seq < :seq
"""

SAVE_CHANGE = """
INSERT INTO task_changes (task, at, attempt, state, reason, seq) VALUES (:task, :at, :attempt, :state, :reason, :seq)
ON CONFLICT (task, at, attempt, state) DO NOTHING
"""

SAVE_POSITION = """
INSERT INTO streams (name, position, high_water, generation, base) VALUES (:name, :seq, :seq, '', 0)
ON CONFLICT (name) DO UPDATE SET
  position = CASE WHEN excluded.position > streams.position THEN excluded.position ELSE streams.position END,
  high_water = CASE WHEN excluded.high_water > streams.high_water THEN excluded.high_water ELSE streams.high_water END
"""

TASK = f"SELECT {', '.join(COLUMNS)} FROM tasks WHERE id = :id"  # noqa: S608 - column names of our own

_BRIEF = ", ".join("NULL" if name in {"input", "output"} else name for name in COLUMNS)
TASKS = f"SELECT {_BRIEF} FROM tasks {{where}} ORDER BY submitted_at DESC, id LIMIT :limit"  # noqa: S608 - column names of our own; the conditions come from CONDITIONS
COUNT = f"SELECT count(*) FROM tasks {{where}} state IN {_FINAL}"  # noqa: S608 - a constant; the conditions come from CONDITIONS

CONDITIONS = {
    "state": "state = :state",
    "agent": "agent = :agent",
    "priority": "priority = :priority",
    "label": "replace(labels, :label, '') <> labels",
    "reason": "replace(reason, :reason, '') <> reason",
    "since": "submitted_at >= :since",
    "until": "submitted_at < :until",
    "after_id": "(submitted_at < :after_at OR (submitted_at = :after_at AND id > :after_id))",
}
"""Field of ``TaskFilter`` to its condition. ``replace`` finds text as it is written, which LIKE does not on SQLite."""

CHANGES = "SELECT task, at, attempt, state, reason, seq FROM task_changes WHERE task = :task ORDER BY at, attempt, seq"

DROP_RESULTS = "UPDATE tasks SET output = NULL, keep_until = NULL WHERE keep_until < :now"
OLD = f"""
SELECT id FROM tasks WHERE state IN {_FINAL} AND since < :before ORDER BY since LIMIT :limit
"""  # noqa: S608 - a constant
EXCESS = f"""
SELECT id FROM tasks WHERE state IN {_FINAL} ORDER BY since DESC LIMIT :limit OFFSET :keep
"""  # noqa: S608 - a constant
FORGET_TASK = "DELETE FROM tasks WHERE id = :id"
FORGET_CHANGES = "DELETE FROM task_changes WHERE task = :id"

LOSE_UNSEEN = f"""
UPDATE tasks SET state = 'unknown', reason = :reason WHERE state NOT IN {_FINAL} AND seq < :first
"""  # noqa: S608 - a constant
LOSE_TAIL = "UPDATE tasks SET seq = 0, state = 'unknown', reason = :reason WHERE seq > :last"
LOSE_CHANGES = "DELETE FROM task_changes WHERE seq > :last"
REWIND = "UPDATE streams SET position = 0, high_water = :last, generation = :generation WHERE name = :name"

CLEAR_TASKS = "DELETE FROM tasks WHERE seq >= :first"
CLEAR_CHANGES = "DELETE FROM task_changes WHERE seq >= :first"
DOUBT_TASKS = "UPDATE tasks SET seq = 0"
"""Whatever the log says of these, it is written again."""
