"""The SQL of the genomes' projection: named parameters, and no dialect beyond what SQLite and PostgreSQL share."""

COLUMNS = (
    "id", "evolution", "agent", "release", "generation", "island", "number", "fitness", "at", "record", "checksum",
    "seq",
)  # fmt: skip
_NAMED = ", ".join(f":{name}" for name in COLUMNS)
_OF_GENOME = ", ".join(f"g.{name}" for name in COLUMNS)

SAVE_GENOME = f"""
INSERT INTO genomes ({", ".join(COLUMNS)}) VALUES ({_NAMED})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])}
WHERE excluded.seq > genomes.seq
  AND excluded.checksum = (SELECT w.checksum FROM genome_register AS w WHERE w.id = excluded.id)
"""  # noqa: S608 - column names of our own
"""A genome never changes; told again later with the checksum it always had, it mends a row that was spoiled."""

REGISTER = """
INSERT INTO genome_register (id, evolution, checksum, kept, seq) VALUES (:id, :evolution, :checksum, 0, :seq)
ON CONFLICT (id) DO NOTHING
"""
SAVE_RUN = """
INSERT INTO genome_runs (evolution, agent, at, thinned) VALUES (:evolution, :agent, :at, 0)
ON CONFLICT (evolution) DO NOTHING
"""
KEEP = "UPDATE genome_register SET kept = :how WHERE id = :id AND kept < :how"

GENOME = f"SELECT {_OF_GENOME} FROM genomes AS g WHERE g.id = :id"  # noqa: S608 - column names of our own
REGISTERED = "SELECT checksum FROM genome_register WHERE id = :id"
IS_THERE = "SELECT 1 FROM genomes WHERE id = :id"

_LISTED = "FROM genomes AS g LEFT JOIN genome_runs AS r ON r.evolution = g.evolution"
_BY_FITNESS = "{begun} DESC NULLS LAST, g.evolution, g.fitness DESC NULLS LAST, g.place"
_BY_TIME = "g.at DESC, g.place DESC"
_CHOSEN = f"""
SELECT {_OF_GENOME} FROM genomes AS g JOIN (
  SELECT g.id AS id, r.at AS begun {_LISTED} {{where}} ORDER BY {{inner}} LIMIT :limit OFFSET :offset
) AS o ON o.id = g.id ORDER BY {{outer}}
"""  # noqa: S608 - column names of our own
"""The ids are chosen first: whole records are too large to be sorted."""
FITTEST = _CHOSEN.format(
    where="{where}", inner=_BY_FITNESS.format(begun="r.at"), outer=_BY_FITNESS.format(begun="o.begun")
)
NEWEST = _CHOSEN.format(where="{where}", inner=_BY_TIME, outer=_BY_TIME)
"""Both take the conditions from CONDITIONS."""
COUNT = f"SELECT count(*) {_LISTED} {{where}}"
CONDITIONS = {
    "agent": "g.agent = :agent",
    "evolution": "g.evolution = :evolution",
    "generation": "g.generation = :generation",
}
"""Field of ``GenomeFilter`` to its condition."""

PAGE = "SELECT g.place, g.record FROM genomes AS g {where} g.place > :after ORDER BY g.place LIMIT :limit"

_CHECKED = """
FROM genomes AS g LEFT JOIN genome_register AS w ON w.id = g.id LEFT JOIN genome_runs AS r ON r.evolution = w.evolution
"""
CHECK_PAGE = f"""
SELECT g.place, w.checksum, w.evolution, r.thinned, {_OF_GENOME} {_CHECKED}
WHERE {{where}} g.place > :after ORDER BY g.place LIMIT :limit
"""
CHECK_CONDITIONS = {
    "agent": "(g.agent = :agent OR r.agent = :agent)",
    "evolution": "(g.evolution = :evolution OR w.evolution = :evolution)",
}
"""A row whose own column was spoiled is still found by what the register says of it."""

MISSING = """
SELECT w.id FROM genome_register AS w LEFT JOIN genomes AS g ON g.id = w.id
LEFT JOIN genome_runs AS r ON r.evolution = w.evolution
WHERE g.id IS NULL {where} ORDER BY w.id LIMIT :limit
"""
MISSING_CONDITIONS = {"agent": "AND r.agent = :agent", "evolution": "AND w.evolution = :evolution"}

EXCESS = """
SELECT g.id, g.evolution FROM genomes AS g JOIN genome_register AS w ON w.id = g.id
WHERE w.kept = 0 AND g.evolution NOT IN (
  SELECT r.evolution FROM genome_runs AS r
  WHERE r.at = (SELECT max(other.at) FROM genome_runs AS other WHERE other.agent = r.agent))
ORDER BY g.at, g.place LIMIT :limit
"""
CHAMPIONS = "SELECT id FROM genome_register WHERE kept = 1"
"""``kept`` is 0 for what may go, 1 for a champion whose ancestors are to be traced, 2 for what stays."""
FORGET_GENOME = "DELETE FROM genomes WHERE id = :id"
FORGET_REGISTERED = "DELETE FROM genome_register WHERE id = :id"
THINNED = "UPDATE genome_runs SET thinned = 1 WHERE evolution = :evolution"

LOSE_GENOMES = "DELETE FROM genomes WHERE seq > :last"
LOSE_REGISTERED = "DELETE FROM genome_register WHERE seq > :last"
CLEAR_GENOMES = "DELETE FROM genomes WHERE seq >= :first"
CLEAR_REGISTERED = "DELETE FROM genome_register WHERE seq >= :first"
