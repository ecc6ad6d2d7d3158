"""Two treatments compared: exact release against R, thresholded release against the exact one, thresholds, refusals."""

import numpy as np
import pandas as pd
import pytest

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import comparative_tables
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.cells import HiddenCount, ReleasedCount
from mpc_backend.analyses.comparative_result import (
    EffectContrast,
    Estimate,
    WeightedArm,
    contrast,
    e_value,
    ratio,
)
from mpc_backend.analyses.comparative_weights import ODDS_BITS, People, above_cuts
from mpc_backend.analyses.curve_heights import times_worth, worth
from mpc_backend.analyses.errors import InputsRefused, LocalDataError, ParametersRefused
from mpc_backend.analyses.plain import opened_outputs, run_here
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.secret_curves import SCALE, real, rounded_numbers, unit
from mpc_backend.analyses.weighted_curves import WeightedTables, weighted_estimates
from mpc_backend.analyses.weighted_secret import SIZE_SCALE, SecretTables, estimates
from mpc_backend.bench.confounding import compared, patients
from mpc_backend.testing import World
from tests.validation import comparative
from tests.validation.comparative import KIND, STUDY
from tests.validation.holding import held

EXACT = DisclosurePolicy(minimum_sites=1, release="exact")
HIDING = DisclosurePolicy(minimum_sites=1)
HEAVY = "one person or event would weigh more than 1/10 of all under the weights"


ALONE = [
    case for case in comparative.CASES if "beyond" not in case and not case.endswith(comparative.PACKAGES)
]


@pytest.fixture(scope="module")
def rotterdam() -> pd.DataFrame:
    return comparative.rotterdam()


def thirds(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: frame.iloc[start::3] for start, name in enumerate(("north", "south", "west"))}


@pytest.mark.parametrize("case", ALONE)
def test_exact_numbers_are_those_of_r_and_released_ones_are_these_rounded(run, rotterdam, case):
    method, changes = comparative.CASES[case]
    exact, hidden = (
        run(KIND, {**STUDY, **changes}, thirds(rotterdam), policy=policy) for policy in (EXACT, HIDING)
    )
    held(comparative, case, comparative.compared(exact, case))
    if (named := f"{case}, {comparative.PACKAGES}") in comparative.CASES:
        held(comparative, named, comparative.compared(exact, named))
    for full, shown in zip(exact.primary.arms, hidden.primary.arms, strict=True):
        if case == "rotterdam, iptw" and full.arm == "1":
            assert shown.why_not == HEAVY, "one who fails weighs 100, an eighth of all failures"
            continue
        assert shown.rmst.estimate == pytest.approx(full.rmst.estimate, abs=0.0051)
        five = 5 / shown.n.value
        assert shown.risk.estimate == pytest.approx(full.risk.estimate, abs=five / 2 + 1e-6)
        assert shown.risk.estimate / five == pytest.approx(round(shown.risk.estimate / five), abs=1e-9)
        assert shown.rmst.se == pytest.approx(full.rmst.se, rel=3e-3)
        assert shown.risk.se == pytest.approx((full.risk.se**2 + five**2 / 12) ** 0.5, rel=0.026)
        assert shown.effective_size[0] <= full.effective_size[0] <= shown.effective_size[1] + 1
        assert shown.curve is None and len(full.curve) == 61
    for full, shown in zip(exact.balance, hidden.balance, strict=True):
        assert (shown.before, shown.after) == pytest.approx((full.before, full.after), abs=6e-4)
    assert (exact.positivity is None) == (method == "none")


def test_a_few_scores_beyond_the_truncation_are_hidden(run, rotterdam):
    hidden = run(KIND, STUDY, {"a": rotterdam}, policy=HIDING)
    few = hidden.primary.arms[1].extreme
    assert isinstance(few, HiddenCount) and hidden.positivity.share["1"] is None, "8 treated persons"
    assert hidden.positivity.share["0"] == pytest.approx(415 / 2643, abs=0.003)


def test_the_crude_comparison_is_wrong_in_sign_and_says_that_it_is_crude(run, rotterdam):
    """Hormones went to women of worse prognosis: the crude difference blames the treatment."""
    crude = run(KIND, {**STUDY, "weights": "none"}, thirds(rotterdam))
    weighted = run(KIND, {**STUDY, "weights": "overlap"}, thirds(rotterdam))
    assert crude.label == "crude: not adjusted for anything" and crude.positivity is None
    assert (
        crude.primary.contrast.rmst_difference.upper < 0 < weighted.primary.contrast.rmst_difference.estimate
    )
    assert "score of year, age, size, grade, nodes" in weighted.label
    assert weighted.primary.contrast.e_value_limit == 1 < crude.primary.contrast.e_value_limit
    assert all(abs(each.after) < 0.001 for each in weighted.balance if each.in_score)
    (outside,) = [each for each in weighted.balance if not each.in_score]
    assert abs(outside.after) > 0.1, "balance outside the score is shown too"


def test_confounding_by_indication_is_seen_through():
    """Sicker patients are treated more often, by a treatment that helps (truly 2.08 months within 24)."""
    frame = patients(np.random.default_rng(11), 3000)
    crude, ours = (
        compared(frame, weights, "plain", "k=10").primary.contrast.rmst_difference
        for weights in ("none", "overlap")
    )
    assert crude.upper < 0 < ours.lower < 2.08 < ours.upper


def test_hospitals_belong_to_the_score(run, rotterdam):
    """With hospitals that differ in treatment, the mix of hospitals is balanced as well."""
    rng = np.random.default_rng(3)
    north = rng.random(len(rotterdam)) < 0.3 + 0.4 * rotterdam.hormon
    sites = {"north": rotterdam[north], "south": rotterdam[~north]}
    alike = [{"variable": "north", "levels": ["0", "1"]}]
    marked = {name: rows.assign(north=int(name == "north")) for name, rows in sites.items()}
    study = {**STUDY, "balance": alike}
    (adjusted,) = [
        each
        for each in run(KIND, {**study, "hospital": True}, marked, policy=EXACT).balance
        if not each.in_score
    ]
    (left,) = [each for each in run(KIND, study, marked, policy=EXACT).balance if not each.in_score]
    assert abs(adjusted.after) < 1e-4 and abs(left.after) > 0.5


def test_the_variance_is_the_infinitesimal_jackknife():
    """Against derivatives of the estimates in each person's weight, taken numerically."""
    rng = np.random.default_rng(8)
    times, failed, weights = rng.integers(0, 9, 60), rng.random(60) < 0.5, rng.uniform(0.2, 3, 60)

    def found(w: np.ndarray):
        sums = [np.bincount(times, weights=x, minlength=9) for x in (w, w * failed, w**2, w**2 * failed)]
        return weighted_estimates(WeightedTables(*sums))

    base, step = found(weights), 1e-6
    changes = [found(weights + step * (np.arange(60) == i)) for i in range(60)]
    for name in ("mean", "risk"):
        slopes = np.array([(getattr(each, name) - getattr(base, name)) / step for each in changes])
        assert getattr(base, f"{name}_variance") == pytest.approx(((weights * slopes) ** 2).sum(), rel=1e-4)


def test_e_values_are_those_of_the_paper():
    assert e_value(3.9) == pytest.approx(7.26, abs=0.005) and e_value(0.8) == pytest.approx(1.81, abs=0.005)
    one = Estimate(estimate=0.2, se=0.02, lower=0, upper=1)
    found = ratio(one, one, 0.95)
    assert found.estimate == 1 and found.se == pytest.approx(0.1 * 2**0.5)
    assert found.upper == pytest.approx(np.exp(1.959964 * found.se))


def test_an_arm_without_failures_has_no_spread():
    """Squares of weights open a hair off; where nobody fails, the variance must not go below nothing."""
    frame = people(60, 0, others=120)
    sites = {"a": SiteData(frame)}
    parameters = parse_parameters(KIND, {**SMALL, "weights": "none"})
    result = run_here(analysis(KIND), parameters, Released(EXACT, ("a",)), sites, protocol="rep3")
    arm, found = result.primary.arms[1], result.primary.contrast
    assert arm.rmst == Estimate(estimate=60, se=0, lower=60, upper=60)
    assert arm.risk == Estimate(estimate=0, se=0, lower=0, upper=0)
    assert found.rmst_difference.se == result.primary.arms[0].rmst.se > 0


def test_nothing_is_balanced_against_an_arm_of_nobody(run):
    frame = people(60, 0)
    result = run(KIND, {**SMALL, "weights": "overlap"}, {"a": frame[frame.hormon == 0]}, policy=EXACT)
    assert [(each.before, each.after) for each in result.balance] == [(None, None)]


def test_persons_of_one_score_share_a_fifth():
    """Truncation takes equal scores to neighbouring keys, at random; cuts must not run between them."""
    odds = np.repeat([-0.7310931, 0.2183017, 1.3333333, 2.1], 100)
    with World("rep3") as world:
        shared = world.share(odds, fixed=True)
        flags = world.share(np.stack([np.arange(400) % 2, 1 - np.arange(400) % 2]), bits=2)
        none = world.share(np.zeros((400, 1)), fixed=True)

        def reached(session, score, arms, covariates):
            people = People(arms, covariates, {"a": slice(0, 400)})
            return above_cuts(people, (score * 1.0003).with_bits(ODDS_BITS)).reshape(4, 4, 100).sum(2)

        found = world.run(reached, shared, flags, none)
    assert found.tolist() == [[100] * 4, [0, *[100] * 3], [0, 0, 100, 100], [0, 0, 0, 100]]


def test_without_a_standard_error_there_is_no_p():
    """Nobody fails before tau in either arm: both means are tau, known without error."""
    none = Estimate(estimate=0, se=0, lower=0, upper=0)
    cell = ReleasedCount(value=50, band=(50, 50))
    arms = [
        WeightedArm(
            arm=arm, n=cell, events=cell, extreme=None, effective_size=(50, 50), risk=none,
            rmst=none.model_copy(update={"estimate": 24}),
        )
        for arm in ("0", "1")
    ]  # fmt: skip
    found = contrast(arms, 24, 0.95)
    assert found is not None and (found.rmst_difference.estimate, found.p, found.risk_ratio) == (
        0,
        None,
        None,
    )
    assert EffectContrast.model_validate_json(found.model_dump_json()) == found


def people(treated: int, failures: int, *, follow: int = 70, others: int = 400) -> pd.DataFrame:
    """A comparator arm with plenty of everything; a treated arm of given size, failures in the first year, and follow-up."""
    rng = np.random.default_rng(treated)
    n = others + treated
    arm = np.arange(n) >= others
    months = np.where(arm, follow, rng.integers(1, 100, n))
    event = np.where(arm, 0, rng.integers(0, 2, n))
    months[others : others + failures], event[others : others + failures] = 12, 1
    x = rng.normal(size=n) + 0.5 * arm
    return pd.DataFrame(
        {"hormon": arm * 1, "x": x, "death_time": months, "death_event": event, "z": rng.integers(0, 2, n)}
    )


SMALL = {
    "outcome": "death", "arm": "hormon", "arms": ["0", "1"], "hospital": False, "time_unit": "month", "tau": 60,
    "period": "not available", "score": [{"variable": "x", "centre": 0, "scale": 1}], "allow_crude": True,
}  # fmt: skip


@pytest.mark.parametrize("weights", ["none", "overlap"])
@pytest.mark.parametrize("persons", [9, 10, 11])
def test_an_arm_of_fewer_than_k_shows_nothing(run, persons, weights):
    result = run(KIND, {**SMALL, "weights": weights}, {"a": people(persons, 0)}, policy=HIDING)
    arm = result.primary.arms[1]
    assert isinstance(arm.n, HiddenCount) == (persons < 10)
    assert (arm.why_not == "fewer than 10 persons") == (persons < 10)
    assert arm.rmst is None and result.primary.contrast is None
    assert (result.balance[0].before is None) == (persons < 10)
    if weights == "none":
        assert (arm.effective_size is None) == (persons < 10)


def test_a_risk_tells_no_more_than_the_number_of_events_does(run):
    """Of 60 treated persons whom everybody follows, 18 to 22 fail: persons, events and risk are the same."""

    def shown(failures: int) -> tuple[object, ...]:
        result = run(KIND, {**SMALL, "weights": "none"}, {"a": people(60, failures)}, policy=HIDING)
        arm = result.primary.arms[1]
        return arm.n, arm.events, arm.risk.estimate

    assert shown(18) == shown(20) == shown(22)
    assert shown(22)[2] == pytest.approx(20 / 60)
    assert shown(23)[2] == pytest.approx(25 / 60)


def test_a_ratio_of_risks_counts_what_rounding_adds(run):
    """Risks of small arms are rounded to five persons; intervals and E-values are those of the risks shown."""
    result = run(KIND, {**SMALL, "weights": "none"}, {"a": people(60, 22)}, policy=HIDING)
    exact = run(KIND, {**SMALL, "weights": "none"}, {"a": people(60, 22)}, policy=EXACT)
    base, mine = (arm.risk for arm in result.primary.arms)
    found, true = result.primary.contrast, exact.primary.contrast
    assert found.risk_ratio.estimate == pytest.approx(mine.estimate / base.estimate)
    assert found.e_value == pytest.approx(e_value(found.risk_ratio.estimate))
    assert found.risk_ratio.lower < true.risk_ratio.estimate < found.risk_ratio.upper
    assert found.risk_ratio.estimate == pytest.approx(true.risk_ratio.estimate, rel=2.6 / 22)
    assert mine.se == pytest.approx(np.hypot(exact.primary.arms[1].risk.se, 5 / 60 / 12**0.5), rel=0.026)
    assert (len(result.notes), len(exact.notes)) == (5, 4) and "five persons" in result.notes[3]


def test_the_risk_of_a_large_arm_has_four_decimals():
    assert worth(200) == 0.025 and worth(50_000) == worth(900_000) == 0.0001
    with World("plain") as world:
        shares = world.share(np.array([0.12346, 0.12346, 0.26]), fixed=True)
        persons = world.share(np.array([100_000, 50_000, 50]), bits=30)

        def found(session, risks, counted):
            return rounded_numbers([(times_worth(unit(risks.rescaled(SCALE)), counted), 1)])[0]

        assert world.run(found, shares, persons).tolist() == [1235, 1235, 3]


@pytest.mark.parametrize("failures", [9, 10, 11])
def test_estimates_need_k_events_before_tau(run, failures):
    result = run(KIND, {**SMALL, "weights": "none"}, {"a": people(60, failures)}, policy=HIDING)
    arm = result.primary.arms[1]
    assert (arm.rmst is None) == (failures < 10) == (result.primary.contrast is None)
    assert arm.why_not == ("fewer than 10 events" if failures < 10 else None)
    assert isinstance(arm.events, HiddenCount) == (failures < 10)


def test_failures_at_tau_are_no_events_before_it(run):
    frame = people(60, 20)
    frame.loc[frame.death_time == 12, "death_time"] = 60
    frame.loc[frame.hormon == 1, "death_event"] = (frame.death_time[frame.hormon == 1] == 60) * 1
    for policy, why in ((HIDING, "fewer than 10 events"), (EXACT, None)):
        result = run(KIND, {**SMALL, "weights": "none"}, {"a": frame}, policy=policy)
        assert result.primary.arms[1].why_not == why
    assert result.primary.arms[1].events.value == 0 and result.primary.arms[1].risk.estimate == pytest.approx(
        1 / 3
    )


def test_what_is_left_of_an_arm_at_tau_must_weigh_something():
    """Less than 1/4096 of an arm's weight at tau carries no estimate, however many persons it is."""
    with World("plain") as world:
        for share, followed in ((2.0**-11, True), (2.0**-13, False)):
            left = int(share * 2**30)
            exits = np.tile([2**29, 2**29 - left, left], (2, 1))
            events = exits // 2 * [1, 1, 0]
            sums = [world.share(each, bits=58) for each in (exits, events, exits, events)]
            size = world.share(np.full(2, 2**26), bits=32)

            def found(session, *given):
                return estimates(SecretTables(*given[:4]), real(given[4], SIZE_SCALE)).followed

            assert world.run(found, *sums, size).tolist() == [followed, followed]


@pytest.mark.parametrize(("left", "shown"), [(9, False), (10, True)])
def test_estimates_need_k_persons_at_risk_at_tau(run, left, shown):
    frame = people(60, 20, follow=40)
    frame.loc[frame.index[-left:], "death_time"] = 60
    result = run(KIND, {**SMALL, "weights": "none"}, {"a": frame}, policy=HIDING)
    assert result.primary.arms[1].why_not == (None if shown else "follow-up too short")


def test_an_arm_carried_by_few_persons_is_too_thin(run):
    """45 treated persons, all but a few of them treated almost surely: overlap weights leave an effective size below 10."""
    frame = people(45, 20)
    arm = frame.hormon == 1
    rng = np.random.default_rng(1)
    frame["x"] = np.where(arm, 3.0, -1.0) + rng.normal(size=len(frame)) * 0.8
    few = frame.index[arm][:3]
    frame.loc[few, "x"] = -1.0
    result = run(KIND, {**SMALL, "weights": "overlap"}, {"a": frame}, policy=HIDING)
    exact = run(KIND, {**SMALL, "weights": "overlap"}, {"a": frame}, policy=EXACT)
    assert exact.primary.arms[1].effective_size[0] < 10
    assert result.primary.arms[1].why_not == "effective size below 10"
    assert result.primary.arms[1].effective_size is None and result.balance[0].after is None
    assert result.balance[0].before is not None


UNLIKELY = {**SMALL, "score": [{"variable": "x", "levels": ["0", "1"]}], "truncation": 0.001}


def unlikely(heavy: list[int], *, fail: int, usual: int = 100) -> pd.DataFrame:
    """Of 199 treated with x = 0, who weigh 2 each, a hundred leave in month 30, so many of them by failing; the few with
    x = 1, who were rarely treated, leave in these months, the first of them by failing. Beside 299 others."""
    rest = [30] * 100 + [70] * 99
    groups = [
        (0, 0, [30, 70] * 100, 100), (0, 1, [30, 70] * 49 + [70], 49),
        (1, 0, rest, usual), (1, 1, heavy, fail),
    ]  # fmt: skip
    parts = []
    for arm, x, months, failed in groups:
        died = (np.arange(len(months)) < failed).astype(int)
        if arm == 0:
            died = (np.array(months) == 30).astype(int)
        parts.append(pd.DataFrame({"hormon": arm, "x": x, "death_time": months, "death_event": died}))
    return pd.concat(parts, ignore_index=True)


def test_the_person_whose_treatment_was_unlikely_is_not_the_number(run):
    """An effective size above 10; the exact mean tells when that one person failed, a fifth of the arm's weight."""
    means, study = [], {**UNLIKELY, "weights": "iptw"}
    for fails in (10, 50):
        sites = {"a": unlikely([fails], fail=1)}
        exact = run(KIND, study, sites, policy=EXACT).primary.arms[1]
        means.append(exact.rmst.estimate)
        assert exact.effective_size[0] > 10
        hidden = run(KIND, study, sites, policy=HIDING)
        assert (hidden.primary.arms[1].why_not, hidden.primary.arms[1].rmst) == (HEAVY, None)
        assert hidden.primary.arms[0].rmst is not None and hidden.balance[0].after is None
        assert hidden.primary.arms[1].effective_size is None
    assert means[1] - means[0] == pytest.approx(8, abs=0.1)


@pytest.mark.parametrize(
    ("heavy", "fail", "usual", "why"),
    [
        ([70] * 12, 0, 100, None),
        ([30] * 12, 12, 100, None),
        ([30] * 12, 1, 12, HEAVY),
        ([30] * 12, 0, 12, None),
    ],
)
def test_no_failure_weighs_more_than_a_kth_of_the_failures(run, heavy, fail, usual, why):
    study = {**UNLIKELY, "weights": "iptw"}
    result = run(KIND, study, {"a": unlikely(heavy, fail=fail, usual=usual)}, policy=HIDING)
    assert result.primary.arms[1].why_not == why


@pytest.mark.parametrize(("left", "why"), [(8, HEAVY), (60, None)])
def test_nobody_weighs_more_than_a_kth_of_those_who_are_left(run, left, why):
    """Eleven of those whose treatment was likely, or more, are at risk at tau, and one of the others."""
    frame = unlikely([30] * 11 + [70], fail=0)
    treated = frame.index[(frame.hormon == 1) & (frame.x == 0) & (frame.death_time == 70)]
    frame.loc[treated[left + 3 :], "death_time"] = 40
    result = run(KIND, {**UNLIKELY, "weights": "iptw"}, {"a": frame}, policy=HIDING)
    assert result.primary.arms[1].why_not == why


@pytest.mark.parametrize(("receiving", "why"), [((), None), (("other",), None), (("own",), HEAVY)])
def test_nobody_outside_a_receiving_hospital_weighs_more_than_a_kth_of_those_outside(run, receiving, why):
    frame = unlikely([30] * 4 + [70] * 8, fail=4)
    treated = frame.index[(frame.hormon == 1) & (frame.x == 0)]
    own = frame.index.isin([*treated[30:195]])
    third = frame.iloc[:0]
    sites = {"own": frame[own], "rest": frame[~own], "other": third}
    result = run(KIND, {**UNLIKELY, "weights": "iptw"}, sites, policy=HIDING, receiving=receiving)
    assert result.primary.arms[1].why_not == why


def test_a_receiving_hospital_cannot_subtract_its_own(run):
    """Ten failures among the treated, one of them at the hospital that receives the result."""
    frame = people(60, 10)
    own = np.zeros(len(frame), dtype=bool)
    own[400] = True
    sites = {"own": frame[own], "other": frame[~own]}
    alone = run(KIND, {**SMALL, "weights": "none"}, sites, policy=HIDING)
    received = run(KIND, {**SMALL, "weights": "none"}, sites, policy=HIDING, receiving=("own",))
    assert alone.primary.arms[1].rmst is not None
    assert received.primary.arms[1].why_not == "fewer than 10 events"


def test_treatments_that_the_score_separates_are_not_compared(run):
    frame = people(60, 20)
    frame["x"] = frame.hormon * 4.0 - 2 + frame.z / 10
    for weights, policy in (("overlap", EXACT), ("iptw", HIDING), ("strata", HIDING)):
        result = run(KIND, {**SMALL, "weights": weights}, {"a": frame}, policy=policy)
        assert result.primary.contrast is None
        assert all("cannot be estimated" in arm.why_not for arm in result.primary.arms)
        assert all(share is None for share in result.positivity.share.values())
        assert all(each.after is None for each in result.balance)


@pytest.mark.parametrize("weights", ["overlap", "strata"])
def test_covariates_that_say_the_same_give_no_score(run, weights):
    frame = people(60, 20)
    twice = [{"variable": name, "centre": 0, "scale": 1} for name in ("x", "y")]
    result = run(
        KIND, {**SMALL, "weights": weights, "score": twice}, {"a": frame.assign(y=frame.x)}, policy=HIDING
    )
    assert all("cannot be estimated" in arm.why_not for arm in result.primary.arms)
    assert [each.before for each in result.balance] == pytest.approx([0.5] * 2, abs=0.4), "needs no score"


def test_an_arm_that_fails_completely_needs_no_follow_up(run):
    frame = people(60, 20).assign(death_time=5, death_event=1)
    result = run(KIND, {**SMALL, "weights": "none"}, {"a": frame}, policy=EXACT)
    assert [(arm.rmst.estimate, arm.risk.estimate) for arm in result.primary.arms] == [(5, 1), (5, 1)]
    assert result.primary.contrast.e_value == result.primary.contrast.e_value_limit == 1


@pytest.mark.parametrize("having", [9, 10, 50, 51])
def test_a_level_of_fewer_than_k_persons_of_an_arm_shows_no_balance(run, having):
    """Of 60 treated persons ``having`` have the level, of the others half."""
    frame = people(60, 20)
    treated = frame.index[frame.hormon == 1]
    frame["z"] = np.arange(len(frame)) % 2
    frame.loc[treated, "z"] = (np.arange(60) < having) * 1
    study = {**SMALL, "weights": "none", "balance": [{"variable": "z", "levels": ["0", "1"]}]}
    result = run(KIND, study, {"a": frame}, policy=HIDING)
    assert (result.balance[1].before is None) == (having in (9, 51)) and result.balance[0].before is not None


FLAG = {
    **SMALL, "weights": "none", "balance": [{"variable": "z", "centre": 0.5, "scale": 0.5, "codes": ["0", "1"]}],
}  # fmt: skip


def flagged(having: int) -> pd.DataFrame:
    """Of 60 treated persons ``having`` have z, of the others half."""
    frame = people(60, 20)
    treated = frame.index[frame.hormon == 1]
    return frame.assign(z=np.arange(len(frame)) % 2 * 1.0).assign(
        z=lambda rows: rows.z.where(rows.hormon == 0, (rows.index - treated[0] < having) * 1.0)
    )


@pytest.mark.parametrize("having", [9, 10, 51])
def test_a_number_of_few_values_shows_no_balance_without_k_persons_of_each(run, having):
    """The mean of 0 and 1 in an arm is a number of persons."""
    frame = flagged(having)
    for sites, receiving in (({"a": frame}, ()), ({"a": frame, "b": flagged(30)}, ("b",))):
        result = run(KIND, FLAG, sites, policy=HIDING, receiving=receiving)
        hidden = (each.before is None for each in result.balance)
        assert [*hidden] == [False, having != 10] and result.primary.contrast is not None


def test_rare_codes_open_to_constants_and_a_study_has_to_declare_them(run):
    first, second = (opened(flagged(having), FLAG) for having in (0, 9))
    assert first.keys() == second.keys()
    assert all(np.array_equal(np.asarray(first[name]), np.asarray(second[name])) for name in first)
    assert all(each.before is not None for each in run(KIND, FLAG, {"a": flagged(1)}, policy=EXACT).balance)
    for codes, words in ((None, "z has no more than two different numbers"), (["0"], "other values than 0")):
        study = {**FLAG, "balance": [{**FLAG["balance"][0], "codes": codes}]}
        with pytest.raises(LocalDataError, match=words):
            run(KIND, study, {"a": flagged(9)})


def test_a_negative_control_is_compared_alike(run, rotterdam):
    study = {**STUDY, "weights": "overlap", "negative_control": "recur"}
    both = run(KIND, study, thirds(rotterdam), policy=EXACT)
    alone = run(KIND, {**STUDY, "weights": "overlap", "outcome": "recur"}, thirds(rotterdam), policy=EXACT)
    hidden = run(KIND, study, thirds(rotterdam), policy=HIDING)
    assert both.negative_control.outcome == "recur"
    assert both.negative_control.contrast.rmst_difference.estimate == pytest.approx(
        alone.primary.contrast.rmst_difference.estimate, rel=1e-6
    )
    difference = hidden.negative_control.contrast.rmst_difference
    assert difference.estimate == pytest.approx(alone.primary.contrast.rmst_difference.estimate, abs=0.011)
    assert hidden.negative_control.arms[0].events.value == pytest.approx(
        both.negative_control.arms[0].events.value, abs=5
    )


def opened(frame: pd.DataFrame, study: dict[str, object]):
    chosen, typed = analysis(KIND), parse_parameters(KIND, study)
    tables = {"a": chosen.local(typed, SiteData(frame))}
    with World("plain") as world:
        return opened_outputs(world, chosen, typed, Released(HIDING, ("a",)), tables)


def test_what_is_hidden_opens_to_the_same_constants():
    first, second = (opened(people(9, failures), {**SMALL, "weights": "overlap"}) for failures in (0, 6))
    for name in ("state0", "mean0", "mean_variance0", "risk0", "risk_variance0", "effective"):
        mine, other = np.asarray(first[name])[1], np.asarray(second[name])[1]
        assert mine == other and (name == "state0" or mine == 0), name
    for name in ("before", "after", "balance_shown"):
        assert not np.asarray(first[name]).any() and not np.asarray(second[name]).any(), name
    separated = people(60, 20)
    separated["x"] = separated.hormon * 4.0 - 2 + separated.z / 10
    found = opened(separated, {**SMALL, "weights": "iptw"})
    assert (np.asarray(found["state0"]) == 1).all() and not np.asarray(found["count_value"])[1, :, 1].any()
    assert not np.asarray(found["effective"]).any() and not np.asarray(found["mean0"]).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": "none", "allow_crude": False}, "says allow_crude"),
        ({"arms": ["0", "1", "2"]}, "arms"),
        ({"score": [], "weights": "iptw", "period": "not available"}, "at least one covariate"),
        ({"balance": [{"variable": "age", "centre": 0, "scale": 1}]}, "name each covariate once"),
        ({"score": [{"variable": "age", "centre": 0}]}, "either levels, or centre and scale"),
        ({"truncation": 0.3}, "truncation"),
        ({"negative_control": "death"}, "negative control"),
        (
            {"score": [{"variable": f"v{i}", "levels": [str(j) for j in range(20)]} for i in range(2)]},
            "at most 23",
        ),
        ({"period": None}, "period"),
    ],
)
def test_studies_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ParametersRefused, match=words):
        parse_parameters(KIND, {**STUDY, **change})


def test_data_that_do_not_fit_are_refused(run, rotterdam):
    far = {**STUDY, "score": [{"variable": "age", "centre": 0, "scale": 1}]}
    with pytest.raises(LocalDataError, match="age holds numbers more than 16 scales"):
        run(KIND, far, {"a": rotterdam})
    many = {f"s{i}": rotterdam.iloc[i::25] for i in range(25)}
    with pytest.raises(InputsRefused, match="25 hospitals included; at most 24"):
        run(KIND, {**STUDY, "hospital": True}, many)


def test_a_refusal_says_the_most_persons_and_not_how_many_there_are(run, monkeypatch):
    monkeypatch.setattr(comparative_tables, "LARGEST_TABLE", 1000)
    with pytest.raises(
        LocalDataError, match=r"^more than 16 persons by 61 times, the most cells from one hosp"
    ):
        run(KIND, SMALL, {"a": people(60, 20)})
