"""Competing risks: exact release against R's survival and cmprsk, thresholded release against the exact one."""

import itertools

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import aalen_johansen as aj
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cells import HiddenCount
from mpc_backend.analyses.competing_tables import counts
from mpc_backend.analyses.curve_heights import ONE, STEPS, step_of
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.testing import World
from tests.validation.competing import STUDY
from tests.validation.competing import mgus as patients

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
HIDING = DisclosurePolicy(minimum_sites=1)


@pytest.fixture(scope="module")
def mgus() -> pd.DataFrame:
    return patients()


def thirds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: frame.iloc[start::3] for start, name in enumerate(("north", "south", "west"))}


def test_one_cause_is_one_minus_kaplan_meier():
    rng = np.random.default_rng(4)
    exits = rng.integers(0, 5, (2, 2, 30))
    found, table = aj.incidence(exits), km.life_table(exits[:, 0], exits[:, 1])
    assert found.curve[:, 0] == pytest.approx(1 - table.survival, rel=1e-12)
    inside = table.survival > 0
    assert np.sqrt(found.variance[:, 0])[inside] == pytest.approx(table.standard_error[inside], rel=1e-9)
    mean, variance = aj.time_lost(exits, 20)
    assert mean[:, 0] == pytest.approx(20 - km.restricted_mean(table.survival, 20))
    assert variance[:, 0] == pytest.approx(km.restricted_mean_variance(table, 20))


@pytest.mark.parametrize("grid", ["month", "year"])
def test_numbers_computed_on_shares_are_the_exact_ones_rounded(run, mgus, grid):
    study = {**STUDY, "unit": grid}
    if grid == "year":
        study |= {"horizon": 36, "tau": 20, "times": [5, 10]}
    exact = run("competing_risks", study, thirds(mgus), policy=EXACT)
    hidden = run("competing_risks", study, thirds(mgus), policy=HIDING)
    last = 0.06 if study["tau"] > 99 else 0.006
    half = 0.005 + 1e-9  # one in a hundred is worth five of 600 to 999 persons
    for full, shown in zip(exact.arms, hidden.arms, strict=True):
        assert shown.n.value == pytest.approx(full.n.value, abs=5)
        for row, true in zip(shown.table, full.table, strict=False):
            cells = [
                (row.at_risk, true.at_risk),
                *((row.events[each], true.events[each]) for each in row.events),
            ]
            for cell, real in [*cells, (row.censored, true.censored)]:
                assert isinstance(cell, HiddenCount) or cell.value == pytest.approx(real.value, abs=5)
        for truth, found in zip(full.causes, shown.causes, strict=True):
            assert found.why_not is None
            assert found.at_tau.estimate == pytest.approx(truth.at_tau.estimate, abs=half)
            assert found.at_tau.se == pytest.approx(truth.at_tau.se, rel=0.026)
            assert found.time_lost.estimate == pytest.approx(truth.time_lost.estimate, abs=last)
            assert found.time_lost.se == pytest.approx(truth.time_lost.se, rel=5e-3)
            heights = {step.time: (step.estimate, step.se) for step in truth.steps}
            for step in found.steps[1:]:
                before = max(time for time in heights if time <= step.time)
                assert step.estimate == pytest.approx(heights[before][0], abs=half)
                assert step.se == pytest.approx(heights[before][1], rel=0.026)
                assert step.estimate * 100 == pytest.approx(round(step.estimate * 100), abs=1e-9)
                assert step.lower < step.estimate < step.upper
    for cause, test in exact.log_rank.items():
        assert hidden.log_rank[cause].chi2 == pytest.approx(test.chi2, abs=6e-4)
    assert [each.measure for each in hidden.contrasts] == ["risk", "time_lost"] * 2
    for mine, truth in zip(hidden.contrasts, exact.contrasts, strict=True):
        assert mine.difference == pytest.approx(truth.difference, abs=0.11) and mine.lower < mine.upper


def test_displayed_steps_hold_k_events_of_their_cause(run, mgus):
    result = run("competing_risks", STUDY, thirds(mgus), policy=HIDING)
    for arm in result.arms:
        rows = mgus[mgus.sex == arm.arm]
        for found in arm.causes:
            gone = rows[rows[f"{found.cause}_event"] == 1][f"{found.cause}_time"]
            events = [int((gone <= step.time).sum()) for step in found.steps]
            assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(events))
            assert (rows.pcm_time >= found.cut_at).sum() >= 10 > (rows.pcm_time >= found.cut_at + 8).sum()


def small(mgus: pd.DataFrame, persons: int, events: int, deaths: int = 0) -> pd.DataFrame:
    """All women, and a few men, all followed to 300 months or failing of pcm in the first year or dying in the second."""
    men = pd.DataFrame(
        {"sex": "M", "pcm_time": 300, "death_time": 300, "pcm_event": 0, "death_event": 0},
        index=range(persons),
    )
    for cause, first, number in (("pcm", 0, events), ("death", events, deaths)):
        rows = men.index[first : first + number]
        men.loc[rows, ["pcm_time", "death_time"]] = 12 if cause == "pcm" else 24
        men.loc[rows, f"{cause}_event"] = 1
    return pd.concat([mgus[mgus.sex == "F"], men])


@pytest.mark.parametrize(("persons", "shown"), [(9, False), (10, True), (11, True)])
def test_an_arm_of_fewer_than_k_shows_nothing(run, mgus, persons, shown):
    result = run("competing_risks", STUDY, {"a": small(mgus, persons, 0)}, policy=HIDING)
    arm = result.arms[1]
    assert (not isinstance(arm.n, HiddenCount)) == shown
    assert [bool(found.steps) for found in arm.causes] == [shown, shown]
    assert all(found.at_tau is None and found.time_lost is None for found in arm.causes)
    assert result.log_rank["death"] is None, "an arm without events"


@pytest.mark.parametrize(("events", "shown"), [(9, False), (10, True), (11, True)])
def test_numbers_at_tau_and_tests_need_k_events_of_every_cause_that_tells(run, mgus, events, shown):
    """All are followed beyond tau: the deaths and the persons would tell a number of pcm that is withheld."""
    result = run("competing_risks", STUDY, {"a": small(mgus, 60, events, 20)}, policy=HIDING)
    for found in result.arms[1].causes:
        assert (found.at_tau is not None) == shown == (found.time_lost is not None)
        assert shown or "fewer than 10 events of it, or of another reason" in found.why_not
        assert (len(found.steps) > 1) == (found.cut_at is not None) == shown
        assert (not isinstance(found.events, HiddenCount)) == shown
        assert (result.log_rank[found.cause] is not None) == shown


def test_a_receiving_hospital_cannot_subtract_its_own(run, mgus):
    """Ten events of pcm among men, one of them at the hospital that receives the result."""
    frame = small(mgus, 60, 10, 20)
    own = np.zeros(len(frame), dtype=bool)
    own[-60:-59] = True
    sites = {"own": frame[own], "other": frame[~own]}
    alone = run("competing_risks", STUDY, sites, policy=HIDING)
    received = run("competing_risks", STUDY, sites, policy=HIDING, receiving=("own",))
    assert alone.arms[1].causes[0].at_tau is not None and received.arms[1].causes[0].at_tau is None
    assert alone.log_rank["pcm"] is not None and received.log_rank["pcm"] is None


THREE = {
    "causes": ["a", "b", "c"], "arm": "x", "arms": ["1"], "unit": "month", "time_unit": "month", "horizon": 24, "tau": 24,
    "times": [12, 24],
}  # fmt: skip


def left(a: int, b: int, c: int, end: int, early: int = 0, late: int = 0) -> pd.DataFrame:
    """So many persons fail of three causes before 24 months, ``late`` of c at 24; others are followed to the end, or leave
    at month 20."""
    reason = np.repeat([0, 1, 2, 2, 3, 3], [a, b, c, late, end, early])
    time = np.arange(len(reason)) % 19 + 1
    time[a + b + c : a + b + c + late + end] = 24
    time[a + b + c + late + end :] = 20
    outcomes = {f"{cause}_time": time for cause in "abc"}
    return pd.DataFrame(
        {"x": 1, **outcomes, **{f"{n}_event": (reason == i) * 1 for i, n in enumerate("abc")}}
    )


def bounds(cell, all_of_them: int) -> range:
    return range(all_of_them) if isinstance(cell, HiddenCount) else range(cell.band[0], cell.band[1] + 1)


@pytest.mark.parametrize("rounding", [5, 10])
@pytest.mark.parametrize(
    ("end", "early", "hidden"), [(64, 0, "b"), (25, 0, "b"), (25, 40, "b"), (25, 20, "censored")]
)
def test_a_withheld_cause_does_not_follow_from_the_others(run, end, early, hidden, rounding):
    """Whoever subtracts what is shown from all persons finds every number below k possible: those who were followed to the
    end are known, so that hiding the censored helps where others left before."""
    policy = DisclosurePolicy(minimum_sites=1, rounding=rounding)
    for true in (0, 4, 9):
        (arm,) = run("competing_risks", THREE, {"s": left(40, 33, true, end, early)}, policy=policy).arms
        gone = {found.cause: found.events for found in arm.causes} | {"censored": arm.table[-1].censored}
        assert {name for name, cell in gone.items() if isinstance(cell, HiddenCount)} == {"c", hidden}
        assert [found.cause for found in arm.causes if found.at_tau is None] == sorted(
            {"c", hidden} & {*"abc"}
        )
        still = bounds(arm.table[-1].at_risk, 0)
        most = max(bounds(arm.n, 0)) + 1
        shown = [bounds(gone[name], most) for name in ("a", "b")]
        found = {
            persons - a - b - rest - at_end
            for persons in bounds(arm.n, 0)
            for a in shown[0]
            for b in (shown[1][0], shown[1][-1])
            for rest in ((0,) if hidden == "b" else (10, early))
            for at_end in still
        }
        assert min(found) <= 0 and max(found) >= 9


def test_a_cause_with_few_events_before_tau_hides_another_there(run):
    """Four of twelve events of c lie before tau: nothing of c is shown at tau, nor of b, whose curve is shown."""
    for c, late, hidden in ((4, 8, ["b", "c"]), (12, 0, [])):
        (arm,) = run("competing_risks", THREE, {"s": left(40, 33, c, 64, late=late)}, policy=HIDING).arms
        assert [found.cause for found in arm.causes if found.at_tau is None] == hidden
        assert all(found.cut_at is not None for found in arm.causes)


def test_numbers_of_a_withheld_cause_are_all_the_same_to_a_recipient():
    """From nobody to k - 1 persons fail of c rather than of b: everything that is opened is equal."""
    released = Released(HIDING, ("s",))
    chosen, typed = analysis("competing_risks"), parse_parameters("competing_risks", THREE)
    results = []
    for true in (0, 1, 9):
        tables = {"s": chosen.local(typed, SiteData(left(60, 42 - true, true, 64)))}
        with World("plain") as world:
            results.append(opened_outputs(world, chosen, typed, released, tables))
    for other in results[1:]:
        assert other.keys() == results[0].keys()
        assert all(np.array_equal(results[0][name], other[name]) for name in other)


@pytest.mark.parametrize("persons", [0, 7, 10, 138, 499, 500, 630, 49_999, 50_000, 10**6])
def test_steps_are_worth_five_persons(persons):
    step = step_of(persons)
    assert step in STEPS and ONE % step == 0 and (step == STEPS[0] or step * persons >= 5 * ONE)
    finer = [each for each in STEPS if each < step]
    assert not finer or finer[0] * persons < 5 * ONE
    assert step_of(persons, 100) == max(step, 100)


def opened(frame: pd.DataFrame, study: dict[str, object]):
    chosen, typed = analysis("competing_risks"), parse_parameters("competing_risks", study)
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in thirds(frame).items()}
    with World("plain") as world:
        return opened_outputs(world, chosen, typed, Released(HIDING, tuple(tables)), tables)


def test_what_is_hidden_opens_to_the_same_constants(mgus):
    first, second = (opened(small(mgus, 9, events), STUDY) for events in (0, 8))
    for name in ("state", "risk", "risk_variance", "lost", "lost_variance"):
        assert (np.asarray(first[name][1]) == np.asarray(second[name][1])).all(), name
        assert name == "state" or not np.asarray(first[name][1]).any()
    for name in ("step", "height", "height_variance", "followed"):
        assert not np.asarray(first[name][2:]).any() and not np.asarray(second[name][2:]).any(), name


def test_ties_take_the_cause_declared_first_and_the_shortest_follow_up_ends_it():
    typed = parse_parameters(
        "competing_risks",
        {"causes": ["a", "b"], "arm": "x", "arms": ["1"], "time_unit": "month", "horizon": 10},
    )
    frame = pd.DataFrame(
        {
            "x": [1, 1, 1, 1, 1], "a_time": [3, 5, 4, 12, 2], "a_event": [1, 1, 0, 1, None],
            "b_time": [3, 4, 6, 12, 2], "b_event": [1, 0, 1, 1, 1],
        }
    )  # fmt: skip
    found = counts(typed, SiteData(frame))[0]
    assert np.argwhere(found).tolist() == [[0, 3], [2, 4], [2, 10]]
    assert found[2, 4] == 2 and found.sum() == 4


def test_everybody_failing_at_once_leaves_no_interval(run, mgus):
    once = mgus.assign(pcm_time=240, death_time=240, pcm_event=1 - mgus.death_event)
    result = run(
        "competing_risks", {**STUDY, "causes": ["pcm"]}, {"a": once.assign(pcm_event=1)}, policy=EXACT
    )
    risk, lost = result.arms[0].causes[0].at_tau, result.arms[0].causes[0].time_lost
    assert (risk.estimate, risk.se, lost.estimate) == pytest.approx((1, 0, 0)) and risk.lower is None
    assert all(each.p is None for each in result.contrasts if not each.se) and not all(
        each.se for each in result.contrasts
    )
    assert type(result).model_validate_json(result.model_dump_json()) == result
    both = run("competing_risks", STUDY, {"a": once}, policy=EXACT)
    assert sum(each.at_tau.estimate for each in both.arms[0].causes) == pytest.approx(1)


def test_parameters_that_make_no_sense_are_refused():
    for change in (
        {"causes": []},
        {"causes": ["a", "a"]},
        {"tau": 500},
        {"times": [9, 3]},
        {"times": [425]},
        {"rho": 1},
    ):
        with pytest.raises(ParametersRefused):
            parse_parameters("competing_risks", {**STUDY, **change})
