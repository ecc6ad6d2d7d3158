"""The commands as they are typed: output, and status 0, 2 or 3 with one clear message."""

import json

import duckdb
import pytest
from tiny_omop import TABLES
from typer.testing import CliRunner

from cohort_lang.cli import cohort_app

TEXT = """cohort "c"
concept set a: 10
enter on condition of a with 1 day of prior observation
require "Adult": age 18 or more
"""


@pytest.fixture
def run():
    def call(*arguments, stdin=None):
        found = CliRunner().invoke(cohort_app, [str(argument) for argument in arguments], input=stdin)
        return found.exit_code, found.stdout, found.stderr

    return call


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "c.cohort"
    path.write_text(TEXT)
    return path


@pytest.fixture
def omop(tmp_path):
    path = tmp_path / "cdm.duckdb"
    with duckdb.connect(str(path)) as sql:
        for name, columns in TABLES.items():
            sql.execute(f"create table {name} ({columns})")
        sql.execute("insert into person values (1, 1980, 8507), (2, 2015, 8532), (3, 1980, 8532)")
        sql.execute("insert into concept (concept_id) values (10), (11)")
        sql.execute(
            "insert into observation_period select person_id, person_id, '2020-01-01', '2020-12-31', 0 from person"
        )
        sql.execute(
            "insert into condition_occurrence (condition_occurrence_id, person_id, condition_start_date, "
            "condition_concept_id, condition_source_value) "
            "values (1, 1, '2020-06-01', 10, 'a'), (2, 2, '2020-06-01', 10, 'a'), (3, 3, '2020-06-01', 0, 'LOCAL')"
        )
    return path


def test_evaluate(run, text, omop):
    assert run("evaluate", text, "--omop", omop) == (
        0,
        "Population            3\nEntry event           2\nAdult                 1\n1 persons, 1 entries\n",
        "",
    )
    status, out, _ = run("evaluate", text, "--omop", omop, "--rows")
    assert (status, json.loads(out)) == (0, [[1, "2020-06-01", "2020-12-31"]])
    status, out, _ = run("evaluate", text, "--omop", omop, "--json", "--rows")
    assert json.loads(out) == {
        "population": 3,
        "attrition": [{"label": "Entry event", "persons": 2}, {"label": "Adult", "persons": 1}],
        "persons": 1,
        "entries": 1,
        "rows": [[1, "2020-06-01", "2020-12-31"]],
    }


def test_an_empty_cohort_is_explained(run, omop):
    empty = TEXT.replace("a: 10", "a: 11")
    status, out, _ = run("evaluate", "-", "--omop", omop, stdin=empty)
    assert status == 0
    assert "emptied by 'Entry event': there is no record of any entry event" in out
    assert "unmapped condition 'LOCAL': 1 records of 1 persons" in out
    out = run("evaluate", "-", "--omop", omop, "--json", stdin=empty)[1]
    assert json.loads(out)["diagnosis"]["emptied_by"] == "Entry event"


def test_check(run, text, omop):
    assert run("check", text) == (0, "no remarks\n", "")
    status, out, _ = run("check", "-", "--json", stdin=TEXT.replace("18 or", "180 or"))
    assert (status, json.loads(out)[0]["code"]) == (2, "impossible-age")
    status, out, _ = run("check", "-", "--omop", omop, stdin=TEXT.replace("a: 10", "a: 99"))
    assert (status, "not in the vocabulary" in out) == (2, True)


def test_explain_and_format(run, text):
    assert "A person may enter on the date of any diagnosis of a" in run("explain", text)[1]
    text.write_text(TEXT.replace("age 18 or more", "age  >= 18"))
    assert "age 18 or more" in run("format", text)[1]
    assert run("format", text, "--write")[0] == 0
    assert "age 18 or more" in text.read_text()
    assert run("format", "-", "--write", stdin=TEXT)[0] == 2


def test_refusals(run, text, tmp_path, omop):
    latin = tmp_path / "latin.cohort"
    latin.write_bytes('cohort "Diab\xe8te"'.encode("latin-1"))
    broken = tmp_path / "broken.duckdb"
    broken.write_text("not a database")
    cases = [
        (("explain", tmp_path / "absent"), "cannot be read"),
        (("explain", latin), "not UTF-8 text (byte 12)"),
        (("evaluate", text, "--omop", tmp_path / "absent"), "does not exist"),
        (("evaluate", text, "--omop", broken), "not a DuckDB database"),
    ]
    for arguments, message in cases:
        status, out, err = run(*arguments)
        assert (status, out, message in err) == (2, "", True), err
    status, _, err = run("evaluate", "-", "--omop", omop, stdin="cohort 7")
    assert (status, err.split("\n")[0]) == (
        2,
        "tessera cohort: line 1, column 8: '7' cannot stand here; expected a text in double quotes",
    )
    status, _, err = run("evaluate", "-", "--omop", omop, stdin=TEXT.replace("a: 10", "a: 99"))
    assert (status, "concept 99" in err) == (2, True)


def test_the_words_of_the_database_are_not_repeated(run, text, omop, monkeypatch):
    """DuckDB quotes the cell it cannot convert."""

    def fails(*_):
        duckdb.sql("SELECT CAST('Marker-7781' AS INTEGER)").fetchall()

    monkeypatch.setattr("cohort_lang.evaluation.evaluate", fails)
    status, _, message = run("evaluate", text, "--omop", omop)
    assert (status, message) == (
        3,
        "tessera cohort: the database could not answer (ConversionException): a value does not fit the type of its "
        "column: correct the extract there and load it again\n",
    )


def test_help_shows_the_brackets_of_the_rows(run):
    assert "[[person_id, start, end], ...]" in run("evaluate", "--help")[1]
