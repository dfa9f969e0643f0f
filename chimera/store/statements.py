"""The SQL of the store. Named parameters, and no dialect beyond what SQLite and PostgreSQL share."""

SAVE_AGENT = """
INSERT INTO agents (name, state, live, candidate, share, previous)
VALUES (:name, :state, :live, :candidate, :share, :previous)
ON CONFLICT (name) DO UPDATE SET
  state = excluded.state, live = excluded.live, candidate = excluded.candidate,
  share = excluded.share, previous = excluded.previous
"""

SAVE_RELEASE = """
INSERT INTO releases (agent, number, digest, parent, created_at, document)
VALUES (:agent, :number, :digest, :parent, :created_at, :document)
ON CONFLICT (agent, number) DO NOTHING
"""

AGENTS = "SELECT name, state, live, candidate, share, previous FROM agents ORDER BY name"
RELEASES = "SELECT document FROM releases WHERE agent = :agent ORDER BY number"
RELEASE = "SELECT document FROM releases WHERE agent = :agent AND number = :number"

STREAM = "SELECT position, high_water, generation, base FROM streams WHERE name = :name"

SAVE_STREAM = """
INSERT INTO streams (name, position, high_water, generation, base)
VALUES (:name, :position, :high_water, :generation, :base)
ON CONFLICT (name) DO UPDATE SET
  position = excluded.position, high_water = excluded.high_water,
  generation = excluded.generation, base = excluded.base
"""

OUTCOME_COLUMNS = (
    "job_id, agent, release, task, outcome, at, queue_ms, run_ms, cpu_ms, memory_bytes, node, variant, key, detail, "
    "input, output"
)

SAVE_OUTCOME = f"""
INSERT INTO outcomes (stream, generation, seq, {OUTCOME_COLUMNS})
SELECT :stream, :generation, :seq, :job_id, :agent, :release, :task, :outcome, :at, :queue_ms, :run_ms, :cpu_ms,
  :memory_bytes, :node, :variant, :key, :detail, :input, :output
WHERE :seq > :base OR NOT EXISTS (SELECT 1 FROM outcomes WHERE stream = :stream AND seq = :seq)
ON CONFLICT (stream, seq, generation) DO NOTHING
"""  # noqa: S608 - column names of our own

OUTCOME_OF_JOB = f"SELECT {OUTCOME_COLUMNS} FROM outcomes WHERE job_id = :job_id ORDER BY at DESC, id DESC LIMIT 1"  # noqa: S608 - column names of our own

OUTCOMES = f"""
SELECT {OUTCOME_COLUMNS} FROM outcomes {{where}} ORDER BY at DESC, id DESC LIMIT :limit OFFSET :offset
"""  # noqa: S608 - column names of our own; the conditions come from OUTCOME_CONDITIONS

OUTCOME_CONDITIONS = {
    "agent": "agent = :agent",
    "release": "release = :release",
    "outcome": "outcome = :outcome",
    "since": "at >= :since",
    "until": "at < :until",
}

MEASURED = """
SELECT o.agent, o.at, o.queue_ms, o.run_ms, o.cpu_ms, o.outcome, j.correct
FROM outcomes AS o LEFT JOIN judgements AS j ON j.job_id = o.job_id
WHERE o.at >= :since AND o.at < :until AND o.id % :stride = 0 {agent}
ORDER BY o.at, o.id LIMIT :limit
"""

TALLY = """
SELECT o.agent, COUNT(*), SUM(CASE WHEN o.outcome = 'ok' THEN 0 ELSE 1 END), SUM(o.queue_ms), SUM(o.run_ms),
  SUM(o.cpu_ms), COUNT(j.correct), COALESCE(SUM(j.correct), 0)
FROM outcomes AS o LEFT JOIN judgements AS j ON j.job_id = o.job_id
WHERE o.at >= :since AND o.at < :until GROUP BY o.agent ORDER BY o.agent
"""

SAVE_JUDGEMENT = """
INSERT INTO judgements (job_id, agent, release, at, label, score, predicted_label, predicted_score, correct)
VALUES (:job_id, :agent, :release, :at, :label, :score, :predicted_label, :predicted_score, :correct)
ON CONFLICT (job_id) DO UPDATE SET
  agent = excluded.agent, release = excluded.release, at = excluded.at, label = excluded.label, score = excluded.score,
  predicted_label = excluded.predicted_label, predicted_score = excluded.predicted_score, correct = excluded.correct
WHERE excluded.at >= judgements.at
"""

SETTING = "SELECT value FROM settings WHERE name = :name"

SAVE_SETTING = """
INSERT INTO settings (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""

REMEMBERED = "SELECT key, body_digest, status, body, at FROM remembered WHERE key = :key"

REMEMBER = """
INSERT INTO remembered (key, body_digest, status, body, at) VALUES (:key, :body_digest, :status, :body, :at)
ON CONFLICT (key) DO UPDATE SET
  body_digest = excluded.body_digest, status = excluded.status, body = excluded.body, at = excluded.at
"""

FORGET_REMEMBERED = "DELETE FROM remembered WHERE at < :before"

FORGET_OUTCOMES = """
DELETE FROM outcomes WHERE id IN (SELECT id FROM outcomes WHERE at < :before ORDER BY at LIMIT :limit)
"""

CLEAR_OUTCOMES = """
DELETE FROM outcomes WHERE stream = :stream AND seq >= :first AND seq <= :last AND (
  generation = (SELECT generation FROM streams WHERE name = :stream)
  OR seq <= (SELECT base FROM streams WHERE name = :stream))
"""
"""What earlier generations said of sequences that were used again stays: it is all that is left of it."""

FORGET_JUDGEMENTS = "DELETE FROM judgements WHERE at < :before"

PULSE = """
INSERT INTO pulse (id, beats) VALUES (1, 1)
ON CONFLICT (id) DO UPDATE SET beats = pulse.beats + 1 RETURNING beats
"""
