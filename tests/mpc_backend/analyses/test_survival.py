"""A survival analysis from hospitals' tables: exact release against R, thresholded release against the exact one."""

import itertools

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import life_table as km
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cells import HiddenCount
from mpc_backend.analyses.curve_heights import ONE, step_of
from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs, run_here
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.survival_released import UNTESTABLE
from mpc_backend.analyses.survival_secret import median_step
from mpc_backend.testing import World

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
HIDING = DisclosurePolicy(minimum_sites=1)
DAYS = {"outcome": "o", "arm": "sex", "arms": ["1", "2"], "unit": "day", "horizon": 1022}
MONTHS = {**DAYS, "unit": "month", "horizon": 34, "tau": 12, "times": [6, 12, 24]}
ECOG = [{"variable": "ecog", "levels": ["0", "1", "2"]}]

TOO_MUCH = "one person or event would weigh more than 1/10 of all in the adjusted curve"


def thirds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: frame.iloc[start::3] for start, name in enumerate(("north", "south", "west"))}


def test_strata_that_only_the_test_uses_leave_the_curves_crude(run, lung):
    strata = [{"variable": "ecog", "levels": ["0", "1", "2", "3"]}]
    result = run("survival", {**DAYS, "strata": strata, "adjust": False}, {"a": lung}, policy=EXACT)
    assert result.stratified_log_rank.df == 1 and not result.suppressed
    assert result.arms[0].crude is None and "Crude comparison" in " ".join(result.notes)


def test_hospitals_are_strata_of_the_log_rank_test_and_nothing_else(run, lung):
    together = run("survival", MONTHS, {"a": lung}, policy=EXACT)
    apart = run("survival", MONTHS, thirds(lung), policy=EXACT)
    by_hospital = run(
        "survival",
        {**MONTHS, "adjust": False, "strata": [{"variable": "inst", "levels": ["0", "1", "2"]}]},
        {"a": lung.assign(inst=np.arange(len(lung)) % 3)},
        policy=EXACT,
    )
    assert apart.arms[0].curve == together.arms[0].curve
    assert apart.log_rank.chi2 == pytest.approx(by_hospital.stratified_log_rank.chi2, rel=1e-6)
    assert apart.log_rank.chi2 != pytest.approx(together.log_rank.chi2, rel=1e-3)


def test_standardisation_is_the_weighted_mean_of_the_strata(run, lung):
    known = lung[lung.ecog.isin([0, 1, 2])]
    result = run("survival", {**MONTHS, "strata": ECOG}, thirds(lung), policy=EXACT)
    for arm in result.arms:
        mean = variance = 0.0
        for ecog in (0, 1, 2):
            rows = known[(known.ecog == ecog) & (known.sex == int(arm.arm))]
            months = np.ceil(rows.o_time * 16 / 487).astype(int)
            found = km.life_table(
                np.bincount(months[rows.o_event == 1], minlength=35),
                np.bincount(months[rows.o_event == 0], minlength=35),
            )
            weight = (known.ecog == ecog).mean()
            mean += weight * float(km.restricted_mean(found.survival, 12))
            variance += weight**2 * float(km.restricted_mean_variance(found, 12))
        assert (arm.curve.rmst.estimate, arm.curve.rmst.se) == pytest.approx((mean, variance**0.5), rel=1e-12)
        assert arm.curve.label.startswith("standardised") and arm.crude.label.startswith("crude")


@pytest.mark.parametrize(
    "parameters", [{**MONTHS, "strata": ECOG}, {**DAYS, "tau": 365, "times": [182, 365]}, MONTHS]
)
def test_numbers_computed_on_shares_are_the_exact_ones_rounded(run, lung, parameters):
    exact = run("survival", {**parameters, "rho": 1}, thirds(lung), policy=EXACT)
    hidden = run("survival", {**parameters, "rho": 1}, thirds(lung), policy=HIDING)
    step = median_step(parameters["horizon"])
    for full, shown in zip(exact.arms, hidden.arms, strict=True):
        pairs = [(full.curve, shown.curve)] + ([(full.crude, shown.crude)] if full.crude else [])
        for truth, found in pairs:
            assert found.rmst.estimate == pytest.approx(truth.rmst.estimate, abs=0.06 if step > 1 else 0.006)
            last = 0.006 if step > 1 else 0.0006
            assert found.rmst.se == pytest.approx(truth.rmst.se, abs=last + 0.0025 * truth.rmst.se)
            for name in ("estimate", "lower", "upper"):
                assert getattr(found.median, name) == pytest.approx(getattr(truth.median, name), abs=step / 2)
    for name in ("log_rank", "stratified_log_rank", "weighted_log_rank"):
        truth, found = getattr(exact, name), getattr(hidden, name)
        assert (truth is None) == (found is None)
        if truth is not None:
            assert found.chi2 == pytest.approx(truth.chi2, abs=6e-4) and found.df == truth.df


def test_displayed_steps_hold_k_events_each_and_stop_where_fewer_than_k_are_at_risk(run, lung):
    result = run("survival", MONTHS, thirds(lung), policy=HIDING)
    for arm in result.arms:
        rows = lung[lung.sex == int(arm.arm)]
        months = np.ceil(rows.o_time * 16 / 487).astype(int)
        events = [int(((months <= step.time) & (rows.o_event == 1)).sum()) for step in arm.curve.steps]
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(events))
        at_risk = [int((months >= time).sum()) for time in range(35)]
        assert at_risk[arm.curve.cut_at] >= 10 > at_risk[arm.curve.cut_at + 1]
        for step in arm.curve.steps[1:]:
            found = km.life_table(
                np.bincount(months[rows.o_event == 1], minlength=35),
                np.bincount(months[rows.o_event == 0], minlength=35),
            )
            height = step_of(arm.n.value) / ONE
            many = step.estimate / height
            assert height * arm.n.value >= 5 and many == pytest.approx(round(many), abs=1e-9)
            assert step.estimate == pytest.approx(found.survival[step.time], abs=height / 2 + 1e-6)
            assert step.se == pytest.approx(found.standard_error[step.time], rel=0.026, abs=6e-5)
            assert step.lower < step.estimate < step.upper


def test_heights_tell_no_more_than_numbers_of_persons_do(run):
    """Forty in each arm, ten or eleven of whom fail at once: persons, events and heights are the same, to the last digit."""

    def shown(failing: int) -> tuple[object, ...]:
        frame = pd.DataFrame({"sex": 1, "o_time": 100, "o_event": 0}, index=range(40))
        frame.loc[: failing - 1, ["o_time", "o_event"]] = [30, 1]
        result = run(
            "survival", {**DAYS, "arms": ["1"], "horizon": 100, "tau": 20}, {"a": frame}, policy=HIDING
        )
        (arm,) = result.arms
        return arm.n, arm.events, [(step.time, step.estimate) for step in arm.curve.steps]

    assert shown(10) == shown(11) == shown(12)
    assert shown(12) != shown(20)


@pytest.mark.parametrize(("protocol", "receiving"), [("rep3", ()), ("plain", ("a",))])
def test_no_step_of_a_displayed_curve_holds_fewer_than_k_events(protocol, receiving):
    """19 fail in the first month and one in the tenth: the twentieth is no step of its own, though floor(20 / 10) rises.

    Where hospital a receives the result, seven of the eleven who fail in the twentieth month are its own.
    """
    gone = [(1, 19), (10, 1), (20, 11), (28, 1), (30, 13)]
    times = [month for month, count in gone for _ in range(count)] + [60] * 55
    frame = pd.DataFrame({"o_time": times, "o_event": [int(time < 60) for time in times], "arm": "x"})
    frame["site"] = "b"
    frame.loc[frame.index[frame.o_time == 20][:7], "site"] = "a"
    sites = {name: SiteData(rows) for name, rows in frame.groupby("site")}
    parameters = parse_parameters(
        "survival", {"outcome": "o", "arm": "arm", "arms": ["x"], "time_unit": "month", "horizon": 60}
    )
    released = Released(DisclosurePolicy(minimum_sites=1), tuple(sites), receiving)
    result = run_here(analysis("survival"), parameters, released, sites, protocol=protocol)
    (arm,) = result.arms
    assert [step.time for step in arm.curve.steps] == ([0, 1, 30] if receiving else [0, 1, 20, 30])


def small_arm(lung: pd.DataFrame, persons: int) -> pd.DataFrame:
    return pd.concat([lung[lung.sex == 1], lung[lung.sex == 2].sort_values("o_time").tail(persons)])


@pytest.mark.parametrize(("persons", "shown"), [(9, False), (10, True), (11, True)])
def test_a_small_arm_shows_no_number_and_the_test_is_withheld(run, lung, persons, shown):
    result = run("survival", MONTHS, {"a": small_arm(lung, persons).assign(o_event=1)}, policy=HIDING)
    arm = result.arms[1]
    assert (not isinstance(arm.n, HiddenCount)) == shown
    assert (result.log_rank is not None) == shown
    if not shown:
        assert arm.curve.steps == [] and arm.curve.median is None and arm.curve.rmst is None
        assert {"2: persons", "2: restricted mean", "log_rank"} <= {each.what for each in result.suppressed}


def opened(frame: pd.DataFrame, parameters: dict[str, object], policy: DisclosurePolicy, receiving=()):
    chosen, typed = analysis("survival"), parse_parameters("survival", parameters)
    tables = {name: chosen.local(typed, SiteData(rows)) for name, rows in thirds(frame).items()}
    with World("plain") as world:
        return opened_outputs(world, chosen, typed, Released(policy, tuple(tables), receiving), tables)


def test_everything_about_a_hidden_arm_opens_to_the_same_constants(lung):
    some = opened(small_arm(lung, 9), MONTHS, HIDING)
    other = opened(small_arm(lung.assign(o_time=lung.o_time // 2 + 1), 3), MONTHS, HIDING)
    for name in (
        "table_value",
        "step",
        "even",
        "followed",
        "height",
        "height_variance",
        "state",
        "mean",
        "mean_variance",
    ):
        assert np.array_equal(some[name][1], other[name][1]), name
    assert not some["height"][1].any() and not some["table_value"][1].any()
    assert np.array_equal(some["median"][:, 1], other["median"][:, 1])
    assert not some["chi2"].any() and not other["chi2"].any()


def test_a_receiving_hospital_hides_what_only_its_own_rows_make_large(lung):
    assert opened(lung, MONTHS, HIDING)["state"].tolist() == [0, 0]
    own = lung.assign(o_time=np.where(np.arange(len(lung)) % 3 == 0, lung.o_time, 30))
    assert opened(own, MONTHS, HIDING, ("north",))["state"].tolist() == [3, 3]


def rare(events: int, own: int = 0) -> dict[str, pd.DataFrame]:
    """An arm of 60 with so many events, ``own`` of them in the north, beside an arm of 60 with 30."""
    quiet = pd.DataFrame({"sex": 1, "o_time": 700, "o_event": 0}, index=range(60))
    quiet.loc[: events - 1, ["o_time", "o_event"]] = [150, 1]
    other = pd.DataFrame({"sex": 2, "o_time": [200, 700] * 30, "o_event": [1, 0] * 30})
    north = pd.concat([quiet.iloc[:own], other.iloc[:20]])
    south = pd.concat([quiet.iloc[own:], other.iloc[20:]])
    return {"north": north, "south": south}


@pytest.mark.parametrize(
    ("events", "own", "receiving", "shown"),
    [
        (0, 0, (), False),
        (1, 0, (), False),
        (9, 0, (), False),
        (10, 0, (), True),
        (19, 10, (), True),
        (19, 10, ("north",), False),
        (20, 10, ("north",), True),
    ],
)
def test_means_medians_and_tests_need_k_events_in_every_view(run, events, own, receiving, shown):
    result = run("survival", MONTHS, rare(events, own), policy=HIDING, receiving=receiving)
    quiet, other = result.arms
    assert other.curve.rmst is not None and other.curve.median is not None
    assert (quiet.curve.rmst is not None) == (quiet.curve.median is not None) == shown
    assert bool(result.rmst_contrasts) == (result.log_rank is not None) == shown
    if not shown:
        assert quiet.curve.why_not == "fewer than 10 events"
        told = {each.what: each.why for each in result.suppressed}
        assert told["1: restricted mean"] == told["1: median"] == "fewer than 10 events"
        assert "2 against 1: restricted means" in told


@pytest.mark.parametrize(("event", "time"), [(0, None), (1, 20), (1, 360)])
def test_a_test_that_cannot_be_made_says_why(run, lung, event, time):
    """Nobody fails, or all fail at one time: the arms cannot be told apart, whatever their numbers."""
    frame = lung.assign(o_event=event, **({} if time is None else {"o_time": time}))
    for policy in (EXACT, HIDING):
        result = run("survival", MONTHS, {"a": frame}, policy=policy)
        told = {each.what: each.why for each in result.suppressed}
        assert result.log_rank is None
        assert told["log_rank"] == (
            "an arm has fewer than 10 persons or events" if policy is HIDING and event == 0 else UNTESTABLE
        )
        if policy is HIDING and time == 360:
            assert told["1: restricted mean"] == "fewer than 10 events before 12" and "1: median" not in told


def left_alone(fails: int) -> pd.DataFrame:
    """Sixty of an arm, of whom two are left at risk after month six, one of them to fail then; beside another arm."""
    few = pd.DataFrame(
        {"sex": 1, "o_time": [60] * 15 + [150] * 43 + [fails, 1000], "o_event": [1] * 15 + [0] * 43 + [1, 0]}
    )
    other = pd.DataFrame({"sex": 2, "o_time": [200, 700] * 30, "o_event": [1, 0] * 30})
    return pd.concat([few, other], ignore_index=True)


@pytest.mark.parametrize("fails", [300, 600])
def test_a_median_is_not_the_time_of_who_is_left(run, fails):
    sites = thirds(left_alone(fails))
    assert run("survival", MONTHS, sites, policy=EXACT).arms[0].curve.median.estimate == np.ceil(
        fails * 16 / 487
    )
    shown = run("survival", MONTHS, sites, policy=HIDING).arms[0].curve.median
    assert (shown.estimate, shown.lower, shown.upper) == (None, None, None)


def one_in_a_stratum(fails: int, alone: int = 1) -> pd.DataFrame:
    """An arm with so many persons in a stratum that is large in the other arm, one of whom fails then."""
    usual = pd.DataFrame(
        {"sex": [1, 2] * 60, "ecog": 0, "o_time": [200, 200, 700, 700] * 30, "o_event": [1, 1, 0, 0] * 30}
    )
    large = pd.DataFrame({"sex": 2, "ecog": 1, "o_time": [200, 700] * 150, "o_event": [1, 0] * 150})
    own = pd.DataFrame(
        {"sex": 1, "ecog": 1, "o_time": [fails] + [1000] * (alone - 1), "o_event": [1] + [0] * (alone - 1)}
    )
    return pd.concat([usual, large, own], ignore_index=True)


@pytest.mark.parametrize("alone", [1, 12])
def test_nobody_makes_a_standardised_curve_alone(run, alone):
    parameters = {**MONTHS, "strata": [{"variable": "ecog", "levels": ["0", "1"]}]}
    means = []
    for fails in (100, 300):
        frame = one_in_a_stratum(fails, alone)
        means.append(run("survival", parameters, thirds(frame), policy=EXACT).arms[0].curve.rmst.estimate)
        result = run("survival", parameters, thirds(frame), policy=HIDING)
        assert result.arms[0].curve.rmst is None and result.arms[0].curve.median is None
        assert result.arms[0].curve.why_not == TOO_MUCH
        assert result.arms[1].curve.rmst is not None
        found = opened(frame, parameters, HIDING)
        assert (
            not any(found[name][..., 0].any() for name in ("median", "mean")) and not found["height"][0].any()
        )
    assert abs(means[1] - means[0]) > 0.2
    crude = run("survival", {**parameters, "adjust": False}, thirds(frame), policy=HIDING)
    assert crude.arms[0].curve.rmst is not None
    short = run("survival", {**parameters, "tau": 30}, thirds(frame), policy=HIDING).arms[0].curve
    assert short.median is None
    assert short.why_not == f"follow-up too short; {TOO_MUCH}"


def test_a_standardised_curve_ends_where_one_of_a_stratum_is_left(run):
    parameters = {**MONTHS, "strata": [{"variable": "ecog", "levels": ["0", "1"]}]}
    frame = one_in_a_stratum(200, 60)
    frame.loc[frame.index[-59:-29], ["o_time", "o_event"]] = [200, 1]
    assert run("survival", parameters, thirds(frame), policy=HIDING).arms[0].curve.cut_at == 33
    frame.loc[frame.index[-29:-1], "o_time"] = 400
    short = run("survival", parameters, thirds(frame), policy=HIDING).arms[0].curve
    assert short.cut_at == 14 and short.rmst is not None


def test_events_after_tau_do_not_open_a_mean_made_of_fewer(run):
    sites = rare(12)
    late = sites["south"].o_event.eq(1) & sites["south"].sex.eq(1)
    sites["south"].loc[late & (late.cumsum() > 4), "o_time"] = 600
    quiet = run("survival", MONTHS, sites, policy=HIDING).arms[0]
    assert quiet.curve.rmst is None and quiet.curve.median is not None


def test_a_variance_is_opened_to_three_digits(lung):
    for number in opened(lung, {**DAYS, "tau": 365}, HIDING)["mean_variance"]:
        assert number >= 1000 and int(number) == int(float(f"{int(number):.2e}"))


def test_an_arm_missing_from_a_stratum_has_no_overlap(run, lung):
    frame = lung[~((lung.sex == 2) & (lung.ecog == 2))]
    for policy in (EXACT, HIDING):
        result = run("survival", {**MONTHS, "strata": ECOG}, {"a": frame}, policy=policy)
        assert result.arms[1].curve.rmst is None and "no overlap" in result.arms[1].curve.why_not
        assert result.arms[0].curve.rmst is not None


def test_tau_beyond_follow_up_gives_no_restricted_mean(run, lung):
    for policy in (EXACT, HIDING):
        result = run("survival", {**DAYS, "tau": 1022}, {"a": lung}, policy=policy)
        assert result.arms[1].curve.rmst is None and "follow-up too short" in result.arms[1].curve.why_not


def test_several_arms_on_shares_have_the_chi_square_of_the_clear(run, lung):
    frame = lung.assign(arm=np.where(lung.age > 63, "old", "young") + lung.sex.astype(str).to_numpy())
    parameters = {**MONTHS, "arm": "arm", "arms": ["old1", "old2", "young1", "young2"]}
    exact = run("survival", parameters, thirds(frame), policy=EXACT)
    hidden = run("survival", parameters, thirds(frame), policy=HIDING)
    assert hidden.log_rank.df == exact.log_rank.df == 3
    assert hidden.log_rank.chi2 == pytest.approx(exact.log_rank.chi2, abs=2e-3)


def test_nobody_fails_and_everybody_fails_at_once(run):
    frame = pd.DataFrame(
        {"sex": [1] * 40 + [2] * 40, "o_time": [12] * 40 + [5] * 40, "o_event": [0] * 40 + [1] * 40}
    )
    parameters = {**DAYS, "horizon": 12, "tau": 10}
    hidden = run("survival", parameters, {"a": frame}, policy=HIDING).arms[0].curve
    assert hidden.rmst is None and hidden.median is None
    telling = DisclosurePolicy(minimum_sites=1, allow_true_zero=True)
    for policy in (EXACT, telling):
        quiet, sudden = run("survival", parameters, {"a": frame}, policy=policy).arms
        assert quiet.curve.median.estimate is None
        assert (quiet.curve.rmst.estimate, quiet.curve.rmst.se) == pytest.approx((10, 0), abs=2e-3)
        assert sudden.curve.median.estimate == 5
        if policy is EXACT:
            assert (sudden.curve.rmst.estimate, sudden.curve.rmst.se) == (5, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tau": 2000}, "tau"),
        ({"times": [12, 6]}, "times"),
        ({"times": [99]}, "times"),
        ({"arms": ["1", "1"]}, "arms"),
        ({"horizon": 0}, "horizon"),
        ({"cohort": "x"}, "cohort"),
    ],
)
def test_parameters_are_refused_by_path(change, field):
    with pytest.raises(ParametersRefused, match=field):
        parse_parameters("survival", {**MONTHS, **change})


def test_impossible_data_are_refused(lung):
    chosen, typed = analysis("survival"), parse_parameters("survival", MONTHS)
    with pytest.raises(LocalDataError, match="o_time"):
        chosen.local(typed, SiteData(lung.assign(o_time=-1)))
    with pytest.raises(LocalDataError, match="sex"):
        chosen.local(typed, SiteData(lung.drop(columns="sex")))


def test_ten_who_weigh_alike_are_enough_whatever_stratum_they_are_in(run):
    """Four and six of strata of forty and sixty are left: each weighs a tenth, but for errors in the last place."""
    months = [200] * 36 + [1000] * 4, [200] * 54 + [1000] * 6
    parts = [
        pd.DataFrame({"sex": sex, "ecog": ecog, "o_time": months[ecog]}) for sex in (1, 2) for ecog in (0, 1)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["o_event"] = (frame.o_time == 200).astype(int)
    parameters = {**MONTHS, "strata": [{"variable": "ecog", "levels": ["0", "1"]}]}
    for arm in run("survival", parameters, thirds(frame), policy=HIDING).arms:
        assert arm.curve.rmst is not None and arm.curve.cut_at == 33
