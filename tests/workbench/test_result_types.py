"""Every kind of analysis has a type of result, which is read back from what the workbench keeps of it."""

from __future__ import annotations

import json
from typing import get_args

import pandas as pd
import pytest

from mpc_backend.analyses.base import Result
from mpc_backend.analyses.registry import KINDS
from tests.workbench import samples
from tests.workbench.test_effect_results import (
    COMPARED,
    COMPETING,
    CORRELATED,
    DESCRIBED,
    GOLDEN,
    MODELLED,
    answered,
)
from tests.workbench.test_parts import count
from workbench.parts.result_tables import named_tables, result_of

BIRTHS = {
    "correlation": CORRELATED,
    "linear": {**MODELLED, "outcome": "bwt", "outcome_centre": 3000, "outcome_scale": 700},
    "logistic": MODELLED,
    "table_one": DESCRIBED,
}
OUTCOMES = ("death", "recurrence", "cancer")


def example(kind: str) -> Result:
    """A result of the kind, made of a few persons or by hand where that takes long."""
    if kind in BIRTHS:
        return answered(kind, BIRTHS[kind], pd.read_csv(GOLDEN / "birthwt.csv"))
    made = {"cohort_count": count, "survival": samples.survival, "treatment_ranking": samples.ranking}
    if kind in made:
        return made[kind]()
    each = pd.Series(range(30))
    frame = pd.DataFrame({"age": 40 + each, "nodes": each, "index_year": 1980 + each, "chemo": each % 2})
    for name in OUTCOMES:
        frame[f"{name}_time"], frame[f"{name}_event"] = 40, 1
    study = {"comparative_effectiveness": COMPARED, "competing_risks": COMPETING}[kind]
    return answered(kind, study, frame.assign(treatment="none", sex="F"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_result_is_read_back_as_what_it_was(kind: str) -> None:
    result = example(kind)
    kept = json.loads(json.dumps(result.model_dump(mode="json"), allow_nan=False))
    assert result_of(kept) == result and type(result) is KINDS[kind].result
    assert kind in get_args(type(result).model_fields["kind"].annotation), "no other type has this kind"
    assert next(iter(named_tables(result))) == "Result"


def test_a_result_of_an_unknown_kind_has_no_type() -> None:
    assert result_of({"kind": "alchemy"}) is None and result_of({}) is None
