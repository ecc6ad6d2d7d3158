"""`tessera try ranking`: what it judges for balance, as asked or as it matches; its negative control and its E-values."""

import json

import numpy as np
import pytest
import ranking_data as data
from typer.testing import CliRunner

from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.try_.ranking_balance import balance_of, declared
from mpc_backend.try_cli import try_app


@pytest.fixture
def file(tmp_path):
    frame = data.patients(3_000, 2)
    women = np.random.default_rng(5).random(len(frame)) < np.where(frame.drug == "t00", 0.9, 0.4)
    path = tmp_path / "patients.csv"
    frame = frame.assign(fall=frame.severe, fell=np.where(frame.severe, 2, 30))
    frame.assign(sex=np.where(women, "f", "m")).to_csv(path, index=False)
    return path


def said(file, *more):
    given = (
        "ranking", str(file), "--treatment", "drug", "--time", "o_time", "--event", "o_event", "--tau", "12", "--unit",
        "month", "--match", "stage", "--caliper", "age=40", "--patient", '{"stage": null}', "--strata", "severe", "--release",
        "exact",
        "--protocol", "rep3",
    )  # fmt: skip
    done = CliRunner().invoke(try_app, [*given, *more])
    return str(done.exception) if done.exit_code else done.output


def answered(file, *more):
    return json.loads(said(file, "--json", *more))


def test_by_default_what_is_matched_on_is_judged(file):
    found = answered(file)
    assert found["balance"]["covariates"] == ["stage", "age"] and not found["balance"]["withheld"]
    assert not any("Balance not judged" in note for note in found["notes"])


def test_columns_out_of_balance_are_named_as_in_the_file(file):
    found = answered(file, "--balance", "sex,age=20")
    assert found["balance"]["covariates"] == ["sex", "age"]
    assert found["balance"]["withheld"] == [["t00", "t01"]] and found["balance"]["out_of_balance"] == ["sex"]
    assert found["cannot_be_ruled_out"] == ["t01", "t00"]
    words = said(file, "--balance", "sex")
    assert "Out of balance between some treatments: sex. The contrast of t00 and t01 is withheld" in words
    assert "withheld: contrast of t00 and t01: covariates are out of balance between them" in words


def test_nothing_is_judged_where_nobody_asks(file):
    found = answered(file, "--balance", "none")
    assert found["balance"] is None
    assert "Balance not judged: the study names no covariates for it." in found["notes"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("age=x", "found age=x"),
        ("age=0", "found age=0"),
        ("age,age=10", "named twice"),
        ("size", "size is missing"),
    ],
)
def test_what_cannot_be_judged_is_refused(file, wanted, words):
    assert words in said(file, "--balance", wanted)


def test_bands_are_multiples_of_their_width(file):
    frame = data.pd.DataFrame({"age": [41, 58.5, 60, None], "same": [5, 5, 6, 7]})
    cuts = {each["variable"]: each["cuts"] for each in declared(frame, balance_of("age=10,same=10"))}
    assert cuts == {"balance0": [50, 60], "balance1": [10]}
    with pytest.raises(ParametersRefused, match="more than 64 bands"):
        declared(data.pd.DataFrame({"age": [0, 100]}), balance_of("age=1"))


def test_covariates_nobody_asked_for_are_left_out_where_they_are_too_many(file, tmp_path):
    frame = data.pd.read_csv(file)
    frame["stage"] = np.arange(len(frame)) % 63
    path = tmp_path / "many.csv"
    frame.to_csv(path, index=False)
    found = answered(path)
    assert found["balance"] is None and any("Balance not judged" in note for note in found["notes"])
    assert "69 levels" in said(path, "--balance", "stage,age=10")


def test_a_negative_control_is_compared_and_told(file):
    found = answered(file, "--negative-control", "fell,fall")
    assert found["negative_control"]["distinguishable"] is False
    assert all(arm["control"]["estimate"] is not None for arm in found["arms"])
    assert answered(file)["negative_control"] is None
    words = said(file, "--negative-control", "fell,fall")
    assert "treatments do not differ distinguishably in the negative control" in words
    assert words.count("; without the negative control ") == 2
    assert "found fell" in said(file, "--negative-control", "fell")


def test_risk_ratios_have_their_e_values(file):
    first, second = (arm["risk"] for arm in answered(file)["arms"])
    assert first["ratio"] is None and second["ratio"] == pytest.approx(second["risk"] / first["risk"])
    assert f"E-value {second['e_value']:.3g}, of the limit {second['e_value_limit']:.3g}" in said(file)
