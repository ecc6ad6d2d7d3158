"""Analyses of one study side by side: what neighbouring horizons would tell, and that such a study is refused."""

import numpy as np
import pandas as pd
import pytest

from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.registry import resolve, side_by_side
from tests.mpc_backend.analyses.test_planner import COHORT, study

CURVE = {"outcome": "o", "arm": "drug", "arms": ["a", "b"], "time_unit": "month", "horizon": 12}
DECLARED = {
    "drug": {"kind": "age"},
    "other_drug": {"kind": "age"},
    "o": {"kind": "time_to_event", "events": ["death"], "horizon_days": 700, "unit": "month"},
    "other": {"kind": "time_to_event", "events": ["death"], "horizon_days": 700, "unit": "month"},
}
COMPARED = {
    "outcome": "o", "arm": "drug", "arms": ["a", "b"], "time_unit": "month", "period": "not available",
    "weights": "none", "allow_crude": True, "score": [{"variable": "other_drug", "levels": ["x", "y"]}],
}  # fmt: skip


def refused(second: dict[str, object], kind: str = "survival", **changes: object) -> str | None:
    """Why two analyses may not stand side by side, the same whichever is asked; None if they may."""
    entries = [
        {"id": "one", "kind": "survival", "cohort": "adults", "parameters": {**CURVE, "tau": 8}},
        {"id": "two", "kind": kind, "cohort": "again", "parameters": second},
    ]
    cohorts = {
        "adults": COHORT,
        "again": COHORT.replace("Adults", "The adults"),
        **changes.pop("cohorts", {}),
    }
    asked = study(analyses=entries, cohorts=cohorts, variables=DECLARED, **changes)
    found = set()
    for name in ("one", "two"):
        try:
            resolve(asked, name)
            found.add(None)
        except ParametersRefused as error:
            found.add(
                "tau"
                if "to tau of" in str(error)
                else "grid"
                if "different unit" in str(error)
                else str(error)
            )
    assert len(found) == 1, found
    (why,) = found
    return why


def test_three_neighbouring_means_tell_in_which_month_one_person_failed(run):
    """Each is made of eleven failures or more; the one of month 7 among 50 persons stands in their second difference."""
    rng = np.random.default_rng(3)
    for alone in (0, 1):
        frame = pd.DataFrame({"drug": "a", "o_time": [3] * 11 + [7] * alone + [20] * (39 - alone)})
        frame["o_event"] = (frame.o_time < 20).astype(int)
        sites = {"north": frame, "south": frame.assign(drug="b", o_time=rng.integers(1, 20, 50))}
        means = []
        for tau in (6, 7, 8):
            shown = run("survival", {**CURVE, "unit": "month", "tau": tau, "adjust": False}, sites)
            means.append(shown.arms[0].curve.rmst.estimate)
        drop = 2 * means[1] - means[0] - means[2]
        assert drop == pytest.approx(alone / 50, abs=0.004)


@pytest.mark.parametrize(
    ("tau", "why"), [(7, "tau"), (8, None), (9, "tau"), (10, "tau"), (11, None), (6, None), (12, None)]
)
def test_horizons_of_one_study_are_the_same_or_lie_apart(tau, why):
    assert refused({**CURVE, "tau": tau}) == why
    assert refused({**COMPARED, "tau": tau}, "comparative_effectiveness") == why
    assert refused({**CURVE, "tau": tau, "outcome": "other"}) is None
    assert refused({**CURVE, "tau": tau, "arm": "other_drug"}) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"horizon": 13}, "grid"),
        ({"times": [6, 7]}, "grid"),
        ({"unit": "week", "horizon": 52, "tau": 35}, "tau"),
        ({"adjust": False}, None),
    ],
)
def test_curves_of_one_study_keep_to_one_grid(changes, why):
    assert refused({**CURVE, "tau": 8, **changes}) == why
    causes = {key: value for key, value in CURVE.items() if key != "outcome"} | {
        "causes": ["o", "other"],
        "tau": 8,
    }
    if "adjust" not in changes:
        assert refused({**causes, **changes}, "competing_risks") == why


def test_another_cohort_and_exact_release_are_not_judged():
    near = {**CURVE, "tau": 9}
    other = COHORT.replace("18 or more", "40 or more")
    assert refused(near, cohorts={"again": other}) is None
    exact = {"disclosure": {"release": "exact"}, "synthetic_data": True}
    assert refused(near, **exact) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tau": 9}, "tau of 243.5 and 273.938 days"),
        ({"tau": 8}, None),
        ({"tau": 11}, None),
        ({"tau": 8, "times": [6]}, "curves with different unit, horizon or times"),
    ],
)
def test_studies_side_by_side_are_judged_by_what_their_names_stand_for(changes, said):
    """Another study may call cohort, arm and outcome something else; another definition is another thing."""

    def asking(parameters: dict[str, object], **more: object):
        entry = {"id": "curve", "kind": "survival", "cohort": "adults", "parameters": parameters}
        return study(analyses=[entry], **{"variables": DECLARED, **more})

    renamed = {"arm": "treatment", "outcome": "dead"}
    named = {"treatment": DECLARED["drug"], "dead": DECLARED["o"]}
    mine = asking({**CURVE, "tau": 8, "times": []})
    theirs = asking({**CURVE, **changes, **renamed}, variables=named, short_name="other")
    found = side_by_side(mine, theirs)
    assert [said in line and "of study other" in line for line in found] == ([] if said is None else [True])
    assert len(side_by_side(theirs, mine)) == len(found)
    exact = {"disclosure": {"release": "exact"}, "synthetic_data": True}
    for more in (
        {"cohorts": {"adults": COHORT.replace("18 or more", "40 or more")}},
        {"cohorts": {"adults": "nobody can read this"}},
        {"variables": {**DECLARED, "o": {**DECLARED["o"], "horizon_days": 600}}},
        exact,
    ):
        assert side_by_side(mine, asking({**CURVE, **changes}, **more)) == []
