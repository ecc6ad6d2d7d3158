"""Grids, levels and strata: what a site does to its columns before anything is shared."""

from fractions import Fraction
from math import ceil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cohort_lang.variables import ceil_days
from mpc_backend.analyses import grid
from mpc_backend.analyses.errors import LocalDataError


@given(st.integers(0, 20_000), st.sampled_from(list(grid.DAYS)), st.sampled_from(list(grid.DAYS)))
def test_coarsening_is_the_exact_ceiling(time, source, target):
    days = {unit: Fraction(*pair) for unit, pair in grid.DAYS.items()}
    assert grid.coarsen(np.array([time]), source, target)[0] == ceil(time * days[source] / days[target])


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_days_become_units_as_in_the_study_variables(unit):
    days = np.arange(0, 2000)
    assert grid.coarsen(days, "day", unit).tolist() == [ceil_days(int(day), unit) for day in days]


def test_follow_up_beyond_the_horizon_is_censored_there():
    frame = pd.DataFrame({"o_time": [10, 11, 12], "o_event": [1, 1, 0]})
    times, events, known = grid.times_and_events(frame, "o", "day", "day", 10)
    assert times.tolist() == [10, 10, 10] and events.tolist() == [1, 0, 0] and known.all()


def test_cuts_make_half_open_bands_with_labels():
    stratum = grid.Stratum(variable="year", cuts=(2016, 2019))
    frame = pd.DataFrame({"year": [2015, 2016, 2018, 2019, None]})
    assert stratum.codes(frame).tolist() == [0, 1, 1, 2, -1]
    assert stratum.labels == ("year under 2016", "year 2016 to under 2019", "year 2019 or more")


def test_crossed_strata_run_with_the_last_variable_fastest():
    strata = (grid.Stratum(variable="a", levels=("x", "y")), grid.Stratum(variable="b", levels=("0", "1")))
    frame = pd.DataFrame({"a": ["x", "x", "y", "y", "z"], "b": [0, 1.0, 0, 1, 1]})
    assert grid.strata_codes(frame, strata).tolist() == [0, 1, 2, 3, -1]
    assert grid.strata_labels(strata)[1] == "a x, b 1"
    assert grid.strata_count(()) == 1 and grid.strata_codes(frame, ()).tolist() == [0] * 5


@pytest.mark.parametrize("bad", [[-1], [1.5], [np.inf], ["soon"], [300_000]])
def test_impossible_times_are_refused_by_name_and_never_by_value(bad):
    frame = pd.DataFrame({"o_time": bad, "o_event": [1]})
    with pytest.raises(LocalDataError, match="o_time") as refused:
        grid.times_and_events(frame, "o", "day", "day", 10)
    assert "300000" not in str(refused.value) and "soon" not in str(refused.value)


def test_an_event_that_is_neither_0_nor_1_is_refused():
    frame = pd.DataFrame({"o_time": [1], "o_event": [2]})
    with pytest.raises(LocalDataError, match="o_event"):
        grid.times_and_events(frame, "o", "day", "day", 10)


def test_a_missing_column_is_named_with_those_there_are():
    with pytest.raises(LocalDataError, match="column b is missing; the data have: a"):
        grid.column(pd.DataFrame({"a": [1]}), "b")


@pytest.mark.parametrize(
    "bad", [{}, {"levels": ("a",), "cuts": (1,)}, {"cuts": (2, 1)}, {"levels": ("a", "a")}]
)
def test_a_stratum_has_either_levels_or_increasing_cuts(bad):
    with pytest.raises(ValidationError):
        grid.Stratum(variable="v", **bad)
