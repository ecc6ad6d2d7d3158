"""The statements of ``assemble``, in the order they run. ``bounds`` holds the earliest and latest date accepted."""

# ruff: noqa: S608 -- statements are put together from table and column names of this package only

WINNER = """
CREATE TEMP TABLE winner AS
SELECT seq, origin, reason,
  row_number() OVER (
    PARTITION BY origin, coalesce(id, '#' || seq)
    ORDER BY TRY_CAST(updated AS TIMESTAMPTZ) DESC NULLS LAST, seq) > 1 AS duplicate
FROM stage_resource
"""
"""Of records with the same origin and id the newest version counts, of equally new ones the first."""

_VALID = "SEMI JOIN (FROM winner WHERE NOT duplicate AND reason IS NULL) USING (seq)"

NEWEST = """
SELECT coalesce(
  (SELECT max(day_of(updated)) FROM stage_resource WHERE day_of(updated) <= current_date),
  (SELECT max(day) FROM (
     SELECT day_of(start) AS day FROM stage_event UNION ALL SELECT day_of(late) FROM stage_event
     UNION ALL SELECT day_of(start) FROM stage_visit UNION ALL SELECT day_of(finish) FROM stage_visit
     UNION ALL SELECT day_of(moment) FROM stage_death)
   WHERE day <= current_date))
"""

_RANGE = """WHEN {day} < (SELECT earliest FROM bounds) THEN '{what} before the earliest date accepted'
    WHEN {day} > (SELECT latest FROM bounds) THEN '{what} after the extract date'"""

PERSON = f"""
CREATE TEMP TABLE person_row AS
WITH born AS (SELECT *, day_of(birth) AS day FROM stage_person {_VALID}),
keyed AS (
  SELECT *, CASE WHEN birth IS NULL THEN 'no birth date' WHEN day IS NULL THEN 'birth date not readable'
    {_RANGE.format(day="day", what="birth date")} END AS reason,
    CAST(md5_number_lower('Patient/' || id) & 9007199254740991 AS BIGINT) AS hash
  FROM born)
SELECT *, hash + row_number() OVER (PARTITION BY hash ORDER BY id) - 1 AS person_id FROM keyed
"""
"""person_id: 53 bits (exact in a double) of the MD5 of the logical id, so that it is the same in every load."""

VISIT = f"""
CREATE TEMP TABLE visit_row AS
WITH dated AS (SELECT *, day_of(start) AS first_day, day_of(finish) AS last_day FROM stage_visit {_VALID}),
keyed AS (
  SELECT d.*, p.person_id,
    CASE WHEN d.person IS NULL THEN 'no reference to a patient'
      WHEN p.id IS NULL THEN 'patient not in the extract'
      WHEN p.reason IS NOT NULL THEN 'patient was rejected'
      WHEN d.start IS NULL THEN 'no start date' WHEN first_day IS NULL THEN 'start date not readable'
      {_RANGE.format(day="first_day", what="start date")} END AS reason,
    CASE WHEN last_day >= first_day THEN last_day
      WHEN d.ongoing AND d.concept IN (9201, 262) THEN (SELECT latest FROM bounds)
      ELSE first_day END AS end_day,
    CAST(md5_number_lower('Encounter/' || d.id) & 9007199254740991 AS BIGINT) AS hash
  FROM dated d LEFT JOIN person_row p ON p.id = d.person)
SELECT *, hash + row_number() OVER (PARTITION BY hash ORDER BY id) - 1 AS visit_id FROM keyed
"""

EVENT = f"""
CREATE TEMP TABLE event_row AS
WITH valid_medication AS (SELECT id, code FROM stage_medication {_VALID}),
coded AS (
  SELECT e.* REPLACE (coalesce(e.code, m.code) AS code)
  FROM (FROM stage_event {_VALID}) e LEFT JOIN valid_medication m ON m.id = e.medication),
dated AS (
  SELECT e.*, p.person_id, v.visit_id, v.id IS NULL AND e.visit IS NOT NULL AS lost_visit,
    CASE WHEN e.start IS NOT NULL THEN day_of(e.start) WHEN e.late IS NOT NULL THEN day_of(e.late)
      ELSE v.first_day END AS first_day,
    CASE WHEN e.start IS NOT NULL THEN partial(e.start) ELSE true END AS imputed,
    day_of(e.finish) AS last_day,
    CASE WHEN e.person IS NULL THEN 'no reference to a patient'
      WHEN p.id IS NULL THEN 'patient not in the extract'
      WHEN p.reason IS NOT NULL THEN 'patient was rejected'
      WHEN e.code IS NULL AND e.medication IS NOT NULL THEN 'medication not in the extract'
      WHEN e.code IS NULL THEN 'no code' END AS reason
  FROM coded e LEFT JOIN person_row p ON p.id = e.person
  LEFT JOIN (FROM visit_row WHERE reason IS NULL) v ON v.id = e.visit AND v.person = e.person),
checked AS (
  SELECT * REPLACE (coalesce(reason, CASE
      WHEN first_day IS NULL AND coalesce(start, late) IS NULL THEN 'no date'
      WHEN first_day IS NULL THEN 'date not readable' {_RANGE.format(day="first_day", what="date")} END) AS reason)
  FROM dated),
mapped AS (
  SELECT c.*, m.n, m.vocabulary_id, m.code AS source_code, m.source_value, m.source_concept_id, m.concept_id,
    m.domain_id, m.concept_class_id,
    coalesce(c.value_concept, mv.concept_id, m.value_concept_id) AS value_as_concept,
    coalesce(mv.source_value, c.text) AS value_text,
    mv.key IS NOT NULL AND mv.concept_id = 0 AS value_unmapped,
    mu.concept_id AS unit_concept, mu.source_concept_id AS unit_source_concept,
    mu.source_value AS unit_text, mr.concept_id AS route_concept, mr.source_value AS route_text,
    c.number IS NOT NULL OR c.text IS NOT NULL OR c.value IS NOT NULL OR c.value_concept IS NOT NULL AS has_value
  FROM checked c LEFT JOIN code_map m ON m.key = c.code
  LEFT JOIN code_map mv ON mv.key = c.value AND mv.n = 1
  LEFT JOIN code_map mu ON mu.key = c.unit AND mu.n = 1
  LEFT JOIN code_map mr ON mr.key = c.route AND mr.n = 1),
placed AS (
  SELECT *, CASE WHEN fixed OR concept_id = 0 THEN home
    WHEN has_value AND domain_id NOT IN ('Measurement', 'Observation') THEN 'Observation'
    ELSE domain_id END AS place
  FROM mapped)
SELECT * EXCLUDE (home, type),
  CASE WHEN imputed AND type <> 32865 THEN 32882 ELSE type END AS type,
  CASE place WHEN 'Condition' THEN 'condition_occurrence' WHEN 'Drug' THEN 'drug_exposure'
    WHEN 'Procedure' THEN 'procedure_occurrence' WHEN 'Measurement' THEN 'measurement'
    WHEN 'Device' THEN 'device_exposure' ELSE 'observation' END AS tab,
  CASE WHEN last_day >= first_day THEN last_day END AS end_day,
  CASE WHEN imputed THEN NULL ELSE moment_of(start) END AS first_moment,
  CASE WHEN last_day >= first_day THEN moment_of(finish) END AS last_moment,
  CASE WHEN last_day >= first_day THEN last_day
    WHEN days IS NOT NULL THEN first_day + days - 1
    ELSE first_day + {{prescription_days}} - 1 END AS drug_end_day,
  concept_class_id IN ('Clinical Finding', 'Disorder', 'Finding', 'Context-dependent', 'Situation')
    AS is_finding
FROM placed
"""

DEATH = f"""
CREATE TEMP TABLE death_row AS
WITH dated AS (SELECT d.*, day_of(d.moment) AS day FROM stage_death d {_VALID})
SELECT d.*, p.person_id,
  CASE WHEN p.id IS NULL THEN 'patient not in the extract'
    WHEN p.reason IS NOT NULL THEN 'patient was rejected'
    WHEN d.moment IS NULL THEN 'no date of death' WHEN d.day IS NULL THEN 'date of death not readable'
    {_RANGE.format(day="d.day", what="date of death")} END AS reason
FROM dated d LEFT JOIN person_row p ON p.id = d.person
"""

_EVENT_IDS = "CAST(row_number() OVER (ORDER BY seq, part, n) AS BIGINT)"
_ACCEPTED = "FROM event_row WHERE reason IS NULL AND tab = "

_PERSONS = """
INSERT INTO person BY NAME
SELECT person_id, gender AS gender_concept_id, year(day) AS year_of_birth,
  CASE WHEN length(birth) >= 7 THEN month(day) END AS month_of_birth,
  CASE WHEN length(birth) >= 10 THEN day(day) END AS day_of_birth,
  CASE WHEN length(birth) >= 10 THEN coalesce(moment_of(birth), CAST(day AS TIMESTAMP)) END AS birth_datetime,
  race AS race_concept_id, ethnicity AS ethnicity_concept_id,
  CASE WHEN {keep_ids} THEN id END AS person_source_value, gender_source AS gender_source_value,
  0 AS gender_source_concept_id, race_source AS race_source_value, 0 AS race_source_concept_id,
  ethnicity_source AS ethnicity_source_value, 0 AS ethnicity_source_concept_id
FROM person_row WHERE reason IS NULL ORDER BY person_id
"""

_VISITS = """
INSERT INTO visit_occurrence BY NAME
SELECT visit_id AS visit_occurrence_id, person_id, concept AS visit_concept_id, first_day AS visit_start_date,
  moment_of(start) AS visit_start_datetime, end_day AS visit_end_date,
  CASE WHEN last_day >= first_day THEN moment_of(finish) END AS visit_end_datetime,
  CASE WHEN partial(start) THEN 32882 ELSE 32827 END AS visit_type_concept_id, source AS visit_source_value,
  0 AS visit_source_concept_id, admitted AS admitted_from_concept_id,
  admitted_source AS admitted_from_source_value, discharged AS discharged_to_concept_id,
  discharged_source AS discharged_to_source_value
FROM visit_row WHERE reason IS NULL ORDER BY person_id, first_day
"""

_CONDITIONS = f"""
INSERT INTO condition_occurrence BY NAME
SELECT {_EVENT_IDS} AS condition_occurrence_id, person_id, concept_id AS condition_concept_id,
  first_day AS condition_start_date, first_moment AS condition_start_datetime, end_day AS condition_end_date,
  last_moment AS condition_end_datetime, type AS condition_type_concept_id,
  status AS condition_status_concept_id, visit_id AS visit_occurrence_id,
  source_value AS condition_source_value, source_concept_id AS condition_source_concept_id,
  status_source AS condition_status_source_value
{_ACCEPTED} 'condition_occurrence'
"""

_DRUGS = f"""
INSERT INTO drug_exposure BY NAME
SELECT {_EVENT_IDS} AS drug_exposure_id, person_id, concept_id AS drug_concept_id,
  first_day AS drug_exposure_start_date, first_moment AS drug_exposure_start_datetime,
  drug_end_day AS drug_exposure_end_date, last_moment AS drug_exposure_end_datetime,
  end_day AS verbatim_end_date, type AS drug_type_concept_id, stop AS stop_reason, refills, quantity,
  days AS days_supply, route_concept AS route_concept_id, lot AS lot_number, visit_id AS visit_occurrence_id,
  source_value AS drug_source_value, source_concept_id AS drug_source_concept_id,
  route_text AS route_source_value
{_ACCEPTED} 'drug_exposure'
"""

_PROCEDURES = f"""
INSERT INTO procedure_occurrence BY NAME
SELECT {_EVENT_IDS} AS procedure_occurrence_id, person_id, concept_id AS procedure_concept_id,
  first_day AS procedure_date, first_moment AS procedure_datetime, end_day AS procedure_end_date,
  last_moment AS procedure_end_datetime, type AS procedure_type_concept_id, visit_id AS visit_occurrence_id,
  source_value AS procedure_source_value, source_concept_id AS procedure_source_concept_id
{_ACCEPTED} 'procedure_occurrence'
"""

_DEVICES = f"""
INSERT INTO device_exposure BY NAME
SELECT {_EVENT_IDS} AS device_exposure_id, person_id, concept_id AS device_concept_id,
  first_day AS device_exposure_start_date, first_moment AS device_exposure_start_datetime,
  end_day AS device_exposure_end_date, last_moment AS device_exposure_end_datetime,
  type AS device_type_concept_id, visit_id AS visit_occurrence_id, source_value AS device_source_value,
  source_concept_id AS device_source_concept_id
{_ACCEPTED} 'device_exposure'
"""

_MEASUREMENTS = f"""
INSERT INTO measurement BY NAME
SELECT {_EVENT_IDS} AS measurement_id, person_id, concept_id AS measurement_concept_id,
  first_day AS measurement_date, first_moment AS measurement_datetime, type AS measurement_type_concept_id,
  operator AS operator_concept_id, number AS value_as_number, value_as_concept AS value_as_concept_id,
  unit_concept AS unit_concept_id, low AS range_low, high AS range_high, visit_id AS visit_occurrence_id,
  source_value AS measurement_source_value, source_concept_id AS measurement_source_concept_id,
  unit_text AS unit_source_value, unit_source_concept AS unit_source_concept_id,
  coalesce(value_text, CAST(number AS VARCHAR)) AS value_source_value
{_ACCEPTED} 'measurement'
"""

_OBSERVATIONS = f"""
INSERT INTO observation BY NAME
SELECT {_EVENT_IDS} AS observation_id, person_id,
  CASE WHEN about IS NULL OR is_finding THEN concept_id ELSE about END AS observation_concept_id,
  first_day AS observation_date, first_moment AS observation_datetime, type AS observation_type_concept_id,
  number AS value_as_number,
  CASE WHEN value_as_concept IS NULL THEN value_text END AS value_as_string,
  CASE WHEN about IS NULL OR is_finding THEN value_as_concept ELSE concept_id END AS value_as_concept_id,
  qualifier AS qualifier_concept_id, unit_concept AS unit_concept_id, visit_id AS visit_occurrence_id,
  source_value AS observation_source_value, source_concept_id AS observation_source_concept_id,
  unit_text AS unit_source_value, qualifier_source AS qualifier_source_value,
  CASE WHEN about IS NULL THEN coalesce(value_text, CAST(number AS VARCHAR)) ELSE source_value END
    AS value_source_value
{_ACCEPTED} 'observation'
"""

_DEATHS = """
INSERT INTO death BY NAME
SELECT person_id, day AS death_date, moment_of(moment) AS death_datetime, 32817 AS death_type_concept_id,
  cause AS cause_concept_id
FROM death_row WHERE reason IS NULL QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY day, seq) = 1
"""

_UNMAPPED = """
CREATE TEMP TABLE unmapped_row AS
SELECT tab, coalesce(vocabulary_id, '(no code system)') AS vocabulary_id, source_code AS code, count(*) AS n
FROM event_row WHERE reason IS NULL AND concept_id = 0 GROUP BY ALL
UNION ALL
SELECT 'visit_occurrence', 'encounter class', source, count(*) FROM visit_row
WHERE reason IS NULL AND concept = 0 GROUP BY ALL
"""

KEPT_EVENTS = "SELECT count(DISTINCT (seq, part)) FROM event_row WHERE reason IS NULL AND {which}"

INSERTS = (
    _PERSONS,
    _VISITS,
    _CONDITIONS,
    _DRUGS,
    _PROCEDURES,
    _DEVICES,
    _MEASUREMENTS,
    _OBSERVATIONS,
    _DEATHS,
    _UNMAPPED,
)

DEATH_AT_LAST_EVENT = """
INSERT INTO death BY NAME
SELECT d.person_id, max(x.day) AS death_date, 32882 AS death_type_concept_id
FROM death_row d JOIN (
  SELECT person_id, first_day AS day FROM event_row WHERE reason IS NULL
  UNION ALL SELECT person_id, end_day FROM visit_row WHERE reason IS NULL) x USING (person_id)
WHERE d.reason = 'no date of death' AND NOT EXISTS (FROM death k WHERE k.person_id = d.person_id)
GROUP BY d.person_id
"""

OBSERVATION_PERIOD = """
INSERT INTO observation_period BY NAME
WITH seen AS (
  SELECT person_id, first_day AS day, NULL::DATE AS visit_start, NULL::DATE AS visit_end
  FROM event_row WHERE reason IS NULL
  UNION ALL SELECT person_id, first_day, first_day, end_day FROM visit_row WHERE reason IS NULL
  UNION ALL SELECT person_id, end_day, NULL, NULL FROM visit_row WHERE reason IS NULL),
span AS (
  SELECT person_id, min(day) AS first_event, max(day) AS last_event, min(visit_start) AS first_visit,
    max(visit_end) AS last_visit, (SELECT latest FROM bounds) AS latest
  FROM seen GROUP BY person_id),
capped AS (
  SELECT person_id, {start} AS first_day, least({end}, latest, coalesce(death_date, latest)) AS last_day
  FROM span LEFT JOIN death USING (person_id))
SELECT CAST(row_number() OVER (ORDER BY person_id) AS BIGINT) AS observation_period_id, person_id,
  first_day AS observation_period_start_date, last_day AS observation_period_end_date,
  32882 AS period_type_concept_id
FROM capped WHERE first_day <= last_day
"""

DISPOSITION = """
CREATE TEMP TABLE disposition AS
WITH outcome AS (
  SELECT seq, reason, 0 AS part FROM person_row UNION ALL SELECT seq, reason, 0 FROM visit_row
  UNION ALL SELECT seq, reason, part FROM event_row
  UNION ALL SELECT d.seq, d.reason, 0 FROM death_row d ANTI JOIN person_row p ON p.seq = d.seq),
verdict AS (
  SELECT seq, CASE WHEN bool_or(reason IS NULL) THEN NULL ELSE arg_min(reason, part) END AS reason
  FROM outcome GROUP BY seq)
SELECT w.seq, w.origin, w.duplicate, coalesce(w.reason, v.reason) AS reason
FROM winner w LEFT JOIN verdict v USING (seq)
"""

INPUTS = """
SELECT origin, count(*), count(*) FILTER (WHERE NOT duplicate AND reason IS NULL),
  count(*) FILTER (WHERE duplicate)
FROM disposition GROUP BY origin ORDER BY origin
"""

_STATEMENT_NOTES = {
    "encounter not in the extract or of another patient, event kept without visit": "lost_visit",
    "start date completed by rule": "imputed",
    "end before start, end left out": "last_day < first_day",
    "prescription end by the number of days in the profile": (
        "tab = 'drug_exposure' AND end_day IS NULL AND days IS NULL AND drug_end_day > first_day"
    ),
    "finding with a value kept as observation": (
        "fixed IS NOT TRUE AND has_value AND tab = 'observation' AND concept_id <> 0 "
        "AND domain_id NOT IN ('Measurement', 'Observation')"
    ),
    "value code without a standard concept": "value_unmapped",
    "unit without a standard concept": "unit IS NOT NULL AND unit_concept = 0",
    "code with several standard concepts": "n > 1",
}

NOTES = (
    "WITH kept AS (FROM event_row WHERE reason IS NULL) "
    + " UNION ALL ".join(
        f"SELECT '{label}', count(DISTINCT (seq, part)) FROM kept WHERE {condition}"
        for label, condition in _STATEMENT_NOTES.items()
    )
    + """
UNION ALL SELECT 'visit end derived', count(*) FROM visit_row
  WHERE reason IS NULL AND (last_day IS NULL OR last_day < first_day)
UNION ALL SELECT 'death not recorded: ' || reason, count(*) FROM death_row
  WHERE reason IS NOT NULL AND NOT EXISTS (FROM death k WHERE k.person_id = death_row.person_id)
  GROUP BY reason
UNION ALL SELECT 'person without a period of observation', count(*) FROM person
  WHERE NOT EXISTS (FROM observation_period o WHERE o.person_id = person.person_id)
"""
)
