"""The disclosure rules of a count at their boundaries, and against a plain statement of them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cohort_count import CohortCount
from mpc_backend.analyses.errors import DisclosureRefused, LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World

K = 10


def site(*counts: int) -> SiteData:
    return SiteData(pd.DataFrame(), tuple((f"step {i}", n) for i, n in enumerate(counts[1:])), counts[0])


def counted(run, sites: dict[str, tuple[int, ...]], policy: DisclosurePolicy | None = None, receiving=()):
    steps = [f"step {i}" for i in range(len(next(iter(sites.values()))) - 1)]
    policy = policy or DisclosurePolicy(minimum_sites=1, rounding=1)
    given_sites = {name: site(*counts) for name, counts in sites.items()}
    return run("cohort_count", {"steps": steps}, given_sites, policy=policy, receiving=receiving)


def shown(result) -> list[object]:
    """Values where released, else the state."""
    cells = [result.population, *(step.count for step in result.steps)]
    return [cell.value if cell.state == "released" else cell.state for cell in cells]


@pytest.mark.parametrize(
    ("n", "expected"), [(K - 1, "suppressed"), (K, K), (K + 1, K + 1), (0, "suppressed")]
)
def test_small_counts_are_hidden_and_zero_looks_like_any_of_them(run, n, expected):
    assert shown(counted(run, {"a": (100, n)})) == [100, expected]


@pytest.mark.parametrize(("missing", "expected"), [(K - 1, "merged"), (K, 90), (K + 1, 89), (1, "merged")])
def test_all_but_a_few_is_as_telling_as_a_few(run, missing, expected):
    assert shown(counted(run, {"a": (100, 100 - missing)})) == [100, expected]


def test_everybody_is_hidden_unless_a_true_zero_may_be_shown(run):
    zero = DisclosurePolicy(minimum_sites=1, rounding=1, allow_true_zero=True)
    assert shown(counted(run, {"a": (100, 100, 0)})) == [100, "merged", "suppressed"]
    assert shown(counted(run, {"a": (100, 100, 0)}, zero)) == [100, 100, 0]
    assert shown(counted(run, {"a": (100, 95, 3)}, zero)) == [100, "merged", "suppressed"]


def test_a_small_step_merges_with_the_next_and_no_two_shown_numbers_are_close(run):
    found = shown(counted(run, {"a": (1000, 900, 895, 892, 880, 300, 291, 290)}))
    assert found == [1000, 900, "merged", "merged", 880, 300, "merged", 290]


def test_hospitals_are_added_up_before_any_rule(run):
    found = counted(run, {"a": (40, 4), "b": (40, 4), "c": (40, 4)})
    assert shown(found) == [120, 12]


def test_a_receiving_hospital_must_not_be_able_to_subtract_itself(run):
    sites = {"a": (500, 100), "b": (300, 5), "c": (300, 4)}
    assert shown(counted(run, sites)) == [1100, 109]
    assert shown(counted(run, sites, receiving=("a",))) == [1100, "suppressed"]
    assert shown(counted(run, {**sites, "c": (300, 5)}, receiving=("a",))) == [1100, 110]


def test_differences_count_in_every_view(run):
    sites = {"a": (500, 200, 150), "b": (300, 100, 95), "c": (300, 100, 97)}
    assert shown(counted(run, sites)) == [1100, 400, 342]
    assert shown(counted(run, sites, receiving=("a",))) == [1100, 400, "merged"]


@pytest.mark.parametrize(
    ("n", "value", "band"), [(14, 10, (10, 14)), (15, 20, (15, 24)), (24, 20, (15, 24)), (25, 30, (25, 34))]
)
def test_rounding_comes_last_and_its_band_holds_the_truth(run, n, value, band):
    policy = DisclosurePolicy(minimum_sites=1, rounding=10)
    cell = counted(run, {"a": (1000, n)}, policy).count
    assert (cell.value, cell.band) == (value, band) and band[0] <= n <= band[1]


def test_exact_release_shows_what_is_there(run):
    policy = DisclosurePolicy(minimum_sites=1, release="exact")
    assert shown(counted(run, {"a": (7, 7, 3, 0)}, policy)) == [7, 7, 3, 0]


def test_too_few_hospitals_get_no_answer_at_all(run):
    with pytest.raises(DisclosureRefused, match="2 hospitals contribute"):
        counted(run, {"a": (100, 50), "b": (100, 50)}, DisclosurePolicy())


def rules(counts: list[int], policy: DisclosurePolicy) -> list[object]:
    """The rules in plain words: a number is shown if it is large and far from the last one shown."""
    k, zero, last, result = policy.minimum_cell, policy.allow_true_zero, None, []
    for n in counts:
        gap = None if last is None else last - n
        if n < k and not (zero and n == 0):
            result.append("suppressed")
        elif gap is not None and gap < k and not (zero and gap == 0):
            result.append("merged")
        else:
            result.append(n)
            last = n
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=8),
    st.booleans(),
    st.sampled_from([5, 10, 11]),
)
def test_any_attrition_follows_the_rules(steps, zero, k):
    counts = np.cumsum(steps[::-1])[::-1].tolist()
    policy = DisclosurePolicy(minimum_sites=1, rounding=1, minimum_cell=k, allow_true_zero=zero)
    parameters = parse_parameters("cohort_count", {"steps": [str(i) for i in range(len(counts) - 1)]})
    given_site = site(*counts)
    chosen = CohortCount()
    with World("plain") as world:
        opened = opened_outputs(
            world, chosen, parameters, Released(policy, ("a",)), {"a": chosen.local(parameters, given_site)}
        )
    result = chosen.finish(parameters, Released(policy, ("a",)), opened)
    assert shown(result) == rules(counts, policy)
    released = [value for value in shown(result) if isinstance(value, int)]
    gaps = [first - second for first, second in itertools.pairwise(released)]
    assert not any(0 < gap < k for gap in gaps)
    hidden = opened["state"] != 0
    assert (opened["value"][hidden] == 0).all()


def test_local_data_that_contradict_the_study_are_refused():
    chosen, parameters = analysis("cohort_count"), parse_parameters("cohort_count", {"steps": ["one", "two"]})
    with pytest.raises(LocalDataError, match="3 steps, the study announces 2"):
        chosen.local(parameters, site(10, 9, 8, 7))
    with pytest.raises(LocalDataError, match="grows"):
        chosen.local(parameters, site(10, 8, 9))
    with pytest.raises(ParametersRefused, match="steps"):
        chosen.tables(parse_parameters("cohort_count", {}))
