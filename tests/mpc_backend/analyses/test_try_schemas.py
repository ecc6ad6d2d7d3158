"""The JSON schemas under docs are those of the models, and what is printed keeps to them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpc_backend.analyses.linked_words import UNLINKED
from mpc_backend.try_.schemas import VERBS, schema_text
from mpc_backend.try_cli import try_app

GOLDEN = Path(__file__).with_name("golden")
SCHEMAS = Path(__file__).resolve().parents[3] / "docs" / "schemas"
MGUS = str(GOLDEN / "mgus2.csv")
COMPETING = ("competing-risks", MGUS, "--time", "time", "--event", "event", "--arm", "sex", "--unit", "month")
BIRTHS = str(GOLDEN / "birthwt.csv")
LUNG = str(GOLDEN / "cox_lung.csv")
SURVIVAL = (
    "survival",
    LUNG,
    "--time",
    "time",
    "--event",
    "status",
    "--arm",
    "sex",
    "--covariates",
    "age,sex",
)
ROTTERDAM = str(GOLDEN / "rotterdam.csv")
COMPARE = (
    "compare", ROTTERDAM, "--arm", "hormon", "--time", "days", "--event", "death", "--covariates", "age,size,nodes",
    "--year", "year", "--balance", "chemo", "--tau", "60", "--grid", "month",
)  # fmt: skip
RANKING = (
    "ranking", ROTTERDAM, "--treatment", "hormon", "--time", "days", "--event", "death", "--harm", "recur", "--harm-time",
    "recur_days", "--tau", "60", "--grid", "month", "--caliper", "age=20", "--match", "chemo", "--patient", '{"age": 64}',
)  # fmt: skip
CALLS = {
    "ranking": (*RANKING, "--mode", "cells", "--protocol", "rep3"),
    "count": ("count", BIRTHS, "--where", "age >= 20", "--then", "smoke == 1", "--protocol", "rep3"),
    "correlation": ("correlation", BIRTHS, "--columns", "age,lwt,bwt", "--protocol", "rep3"),
    "table-one": ("table-one", BIRTHS, "--by", "smoke", "--columns", "age,race", "--protocol", "rep3"),
    "linear": ("linear", BIRTHS, "--outcome", "bwt", "--covariates", "age,race", "--protocol", "rep3"),
    "logistic": ("logistic", BIRTHS, "--outcome", "low", "--covariates", "age", "--protocol", "rep3"),
    "compare": (*COMPARE, "--protocol", "rep3", "--negative-control", "recur_days,recur"),
    "competing-risks": (*COMPETING, "--grid", "year", "--tau", "20"),
    "survival": (*SURVIVAL, "--grid", "year", "--release", "exact", "--protocol", "rep3"),
}


def answered(*arguments: str) -> dict:
    done = CliRunner().invoke(try_app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.parametrize("verb", VERBS)
def test_each_schema_file_is_that_of_its_model(verb):
    file = SCHEMAS / f"try-{verb}.json"
    again = "write it anew: python -m mpc_backend.try_.schemas docs/schemas"
    assert file.read_text(encoding="utf-8") == schema_text(verb), again
    assert file.name in (SCHEMAS.parent / "analyses" / "try.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_printed_keeps_to_its_schema(verb):
    found = answered(*CALLS[verb])
    assert VERBS[verb].model_validate(found).model_dump(mode="json") == found
    assert UNLINKED in found["notes"]


def test_competing_risks_by_cause():
    found = answered(*COMPETING, "--tau", "240", "--times", "60", "--release", "exact", "--protocol", "rep3")
    first = found["arms"][0]["causes"][0]
    assert found["causes"] == ["1", "2"] and first["at_tau"]["estimate"] == pytest.approx(0.104940674)
    assert first["incidence"][0]["se"] == pytest.approx(0.007798334) and first["incidence"][0]["events"] == 25
    assert found["log_rank"]["2"]["chi2"] == pytest.approx(10.98568, abs=2e-5)


def test_an_event_column_without_events_or_with_texts_is_refused(tmp_path):
    path = tmp_path / "few.csv"
    for events, words in (("0", "holds no event"), ("7", "outside 0 to 6"), ("x", "must be numeric")):
        path.write_text(f"t,e,a\n3,{events},x\n4,0,y\n")
        done = CliRunner().invoke(
            try_app, ["competing-risks", str(path), "--time", "t", "--event", "e", "--arm", "a"]
        )
        assert words in str(done.exception)
