"""`tessera try` on files in which hardly anything can be estimated: an answer as its schema has it, or a refusal in words."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mpc_backend.analyses.errors import AnalysisError
from mpc_backend.try_.schemas import VERBS as SCHEMAS
from mpc_backend.try_cli import try_app

TIMED = ("--time", "t", "--event", "e")
PATIENT = ("--patient", '{"age": 61, "sex": "f"}', "--match", "sex", "--caliper", "age=20", "--tau", "20")
VERBS = {
    "survival": (*TIMED, "--arm", "a", "--covariates", "age,sex", "--cluster", "id", "--strata", "s", "--rho", "1"),
    "competing-risks": ("--time", "t", "--event", "c", "--arm", "a"),
    "compare": (*TIMED, "--arm", "a", "--covariates", "age,sex", "--tau", "20"),
    "ranking": (*TIMED, "--treatment", "a", *PATIENT, "--strata", "s"),
    "count": ("--where", "t >= 3", "--then", "sex == 'f'"),
    "table-one": ("--by", "a", "--columns", "age,sex,t"),
    "linear": ("--outcome", "t", "--covariates", "age,sex"),
    "logistic": ("--outcome", "e", "--covariates", "age,sex"),
    "correlation": ("--columns", "age,t"),
}  # fmt: skip


def people() -> pd.DataFrame:
    rng, n = np.random.default_rng(1), 60
    frame = pd.DataFrame(
        {
            "t": rng.integers(1, 40, n), "e": rng.integers(0, 2, n), "a": ["药 x", "naïve, \"y\""] * 30,
            "age": rng.integers(40, 80, n), "sex": rng.choice(["f", "m"], n), "s": rng.choice(["I", "II"], n), "id": range(n),
        }
    )  # fmt: skip
    return frame.assign(c=frame.e * rng.integers(1, 3, n))


FILES = {
    "nobody fails": lambda frame: frame.assign(e=0, c=0),
    "all fail at once": lambda frame: frame.assign(t=7, e=1, c=1),
    "one row": lambda frame: frame.head(1),
    "strata of one arm each": lambda frame: frame.assign(s=frame.a, sex=np.where(frame.index % 2, "f", "m")),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("verb", VERBS)
def test_an_answer_or_a_refusal(tmp_path, verb, file):
    path = tmp_path / "people.csv"
    FILES[file](people()).to_csv(path, index=False)
    asked = [verb, str(path), *VERBS[verb], "--release", "exact", "--protocol", "rep3", "--json"]
    done = CliRunner().invoke(try_app, asked)
    if done.exception is not None:
        assert isinstance(done.exception, AnalysisError), done.exc_info
        assert len(str(done.exception)) > 20
        return
    found = json.loads(done.output, parse_constant=pytest.fail)
    assert SCHEMAS[verb].model_validate(found).model_dump(mode="json") == found


def test_one_treatment_is_refused_by_its_column(tmp_path):
    path = tmp_path / "people.csv"
    people().assign(a="x").to_csv(path, index=False)
    done = CliRunner().invoke(try_app, ["ranking", str(path), *VERBS["ranking"]])
    assert str(done.exception) == "column a has 1 value; 2 to 2000 can be compared"
