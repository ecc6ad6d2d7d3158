"""Balance of covariates between treatments: verdicts on shares against a float formula, what is withheld, what is told."""

import numpy as np
import pandas as pd
import pytest
import ranking_data as data
from hypothesis import given, settings
from hypothesis import strategies as some

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses.base import Released, SiteData
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.plain import opened_outputs
from mpc_backend.analyses.ranking_balance import compared
from mpc_backend.analyses.ranking_contrasts import Balance
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.planner import counted
from mpc_backend.testing import World

EXACT = DisclosurePolicy(release="exact")
HIDING = DisclosurePolicy()
CHOSEN = analysis("treatment_ranking")
JUDGED = [
    {"variable": "sex", "levels": ["f", "m"]},
    {"variable": "weight", "cuts": [60, 80]},
]
STUDIES = {
    "neighbours": lambda treatments, **changes: data.parameters(
        treatments, **{"tiers": [{"name": "any", "max_distance": 8}], **changes}
    ),
    "cells": data.cells,
}
FACTS = {"neighbours": data.FACTS, "cells": {"age": 60, "stage": "II"}}


def described(frame: pd.DataFrame, seed: int = 4) -> pd.DataFrame:
    """With a sex that goes with the second treatment, and weights of which some are missing."""
    rng = np.random.default_rng(seed)
    women = rng.random(len(frame)) < np.where(frame.drug == "t01", 0.8, 0.5)
    weight = rng.normal(70, 12, len(frame))
    return frame.assign(
        sex=np.where(women, "f", "m"), weight=np.where(rng.random(len(frame)) < 0.05, np.nan, weight)
    )


def levels_of(rows: pd.DataFrame) -> dict[str, list[np.ndarray]]:
    """Who has each level of the covariates in `JUDGED`, the missing ones last."""
    weight = rows.weight.to_numpy(float)
    return {
        "sex": [(rows.sex == "f").to_numpy(), (rows.sex == "m").to_numpy(), rows.sex.isna().to_numpy()],
        "weight": [weight < 60, (weight >= 60) & (weight < 80), weight >= 80, np.isnan(weight)],
    }


def verdict(rows: pd.DataFrame, one: str, other: str, k: int) -> dict[str, str]:
    """By covariate: "imbalanced", "unjudged" or "balanced", in the textbook's steps; strata as `data.pooled` has them."""
    strata = (rows.severe * 2 + (rows.year >= 2018)).to_numpy()
    mix = {stratum: np.mean(strata == stratum) for stratum in np.unique(strata)}
    found = {}
    for name, levels in levels_of(rows).items():
        said = set()
        for having in levels:
            if having.sum() < k or (~having).sum() < k:
                continue
            shares, errors = [], []
            for drug in (one, other):
                each = [(share, having[(rows.drug == drug) & (strata == g)]) for g, share in mix.items()]
                spreads = [having[strata == g].mean() * (1 - having[strata == g].mean()) for g in mix]
                shares.append(sum(share * mine.mean() for share, mine in each))
                both = zip(each, spreads, strict=True)
                errors.append(sum(share**2 * spread / len(mine) for (share, mine), spread in both))
            spread = (max(0.0, sum(p * (1 - p) for p in shares)) / 2) ** 0.5
            difference, reach = abs(shares[0] - shares[1]), 1.959963984540054 * sum(errors) ** 0.5
            if difference > 0.2 * spread and difference - reach > 0.1 * spread:
                said.add("imbalanced")
            elif difference + reach > 0.2 * spread + 1e-12:
                said.add("unjudged")
        found[name] = next((word for word in ("imbalanced", "unjudged") if word in said), "balanced")
    return found


def similar_rows(frame, mode):
    if mode == "neighbours":
        return frame
    return frame[data.united(frame, FACTS["cells"], data.cells(2)["cells"]["tiers"][0])]


def ranked(run, frame, mode, policy=HIDING, sites=None, receiving=(), **changes):
    count = frame.drug.nunique()
    study = STUDIES[mode](count, **{"balance": JUDGED, **changes})
    return run(
        "treatment_ranking", study, sites or data.thirds(frame), facts=FACTS[mode], policy=policy, receiving=receiving
    )  # fmt: skip


@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize(("mode", "count"), [("neighbours", 3_000), ("cells", 20_000)])
def test_every_verdict_is_that_of_the_float_formula(run, mode, policy, count):
    frame = described(data.patients(count, 4))
    result = ranked(run, frame, mode, policy)
    rows, names = similar_rows(frame, mode), sorted(arm.treatment for arm in result.arms)
    assert len(names) >= 3
    expected = {
        (one, other): verdict(rows, one, other, 0 if policy is EXACT else 10)
        for at, one in enumerate(names)
        for other in names[at + 1 :]
    }
    out = [pair for pair, said in expected.items() if "imbalanced" in said.values()]
    wide = [pair for pair, said in expected.items() if pair not in out and "unjudged" in said.values()]
    assert result.balance.withheld == out and out
    assert result.balance.not_judged == wide
    named = [
        name for name in ("sex", "weight") if any(said[name] == "imbalanced" for said in expected.values())
    ]
    assert result.balance.out_of_balance == named
    assert result.balance.covariates == ["sex", "weight"]


@settings(max_examples=30, deadline=None)
@given(
    some.lists(
        some.tuples(some.integers(20, 400), some.floats(0, 1), some.floats(0, 1)), min_size=3, max_size=5
    ),
    some.integers(0, 99),
)
def test_any_shares_and_sizes_are_judged_as_in_floating_point(arms, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for place, (size, first, second) in enumerate(arms):
        severe = rng.permutation(size) % 2
        late = np.where(rng.permutation(size) % 3 == 0, 2020, 2015)
        female = rng.random(size) < np.where(severe == 1, first, second)
        rows = pd.DataFrame({"drug": f"t{place:02d}", "severe": severe, "year": late}, index=range(size))
        frames.append(rows.assign(sex=np.where(female, "f", "m"), weight=70.0))
    frame = pd.concat(frames, ignore_index=True).assign(**data.FACTS)
    frame["o_time"], frame["o_event"] = np.where(frame.index % 2, 6, 20), frame.index % 2
    found = opened(frame, STUDIES["neighbours"](len(arms), balance=JUDGED))
    shown = [f"t{place:02d}" for place, state in enumerate(found["state"]) if state == 0]
    names = [f"t{place:02d}" for place in range(len(arms))]
    pairs = [(one, other) for at, one in enumerate(names) for other in names[at + 1 :]]
    for pair, out, wide in zip(pairs, found["imbalanced"], found["unjudged"], strict=True):
        said = verdict(frame, *pair, 10)["sex"] if set(pair) <= set(shown) else "balanced"
        assert (bool(out), bool(wide)) == (said == "imbalanced", said == "unjudged"), pair


def opened(frame, study, protocol="plain", facts=data.FACTS, policy=HIDING, receiving=()):
    typed = parse_parameters("treatment_ranking", study)
    tables = {name: CHOSEN.local(typed, SiteData(rows)) for name, rows in data.thirds(frame).items()}
    released = Released(policy, tuple(tables), receiving)
    with World(protocol) as world:
        return opened_outputs(world, CHOSEN, typed, released, tables, CHOSEN.query(typed, facts))


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
@pytest.mark.parametrize("mode", STUDIES)
def test_on_shares_the_verdicts_are_those_of_the_plain_twin(mode, protocol):
    frame = described(data.patients(900 if mode == "neighbours" else 2_500, 3))
    changes = {"tau": 6, "strata": [], "balance": JUDGED}
    if mode == "cells":
        plan = {"age_cuts": [50, 65], "tiers": [{"name": "cell", "age_cuts": [50, 65]}, {"name": "any"}]}
        changes |= {"equal": [], "cells": plan}
    study, facts = STUDIES[mode](3, **changes), {"age": 60}
    plain, shares = (opened(frame, study, name, facts, receiving=("north",)) for name in ("plain", protocol))
    assert plain["imbalanced"].any()
    for name in ("imbalanced", "unjudged", "out_of_balance"):
        assert np.array_equal(np.asarray(plain[name], int), np.asarray(shares[name], int)), name


def two_arms(women: tuple[int, int], size: int = 1_000) -> pd.DataFrame:
    """Two treatments in one stratum with so many women each, the rest men; half of the second fail, a tenth of the first."""
    rows = pd.DataFrame([{**data.FACTS, "year": 2020, "severe": 0, "weight": 70.0}] * (2 * size))
    place = np.tile(np.arange(size), 2)
    second = np.arange(2 * size) >= size
    failed = place % 10 < np.where(second, 5, 1)
    return rows.assign(
        drug=np.where(second, "t01", "t00"),
        sex=np.where(place < np.where(second, women[1], women[0]), "f", "m"),
        o_time=np.where(failed, 6, 20),
        o_event=failed.astype(int),
    )


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize(
    ("women", "said"),
    [((500, 599), "wide"), ((500, 600), "out"), ((500, 500), "balanced"), ((500, 505), "balanced"), ((500, 570), "wide")],
)  # fmt: skip
def test_the_borders_of_the_verdicts(run, mode, policy, women, said):
    """Of a thousand each: a difference of 0.1 is 0.202 deviations, one of 0.099 is 0.1998."""
    result = ranked(run, two_arms(women), mode, policy)
    pair = [("t00", "t01")]
    assert result.balance.withheld == (pair if said == "out" else [])
    assert result.balance.not_judged == (pair if said == "wide" else [])
    assert result.cannot_be_ruled_out == (["t00", "t01"] if said == "out" else ["t00"])
    assert [each.what for each in result.suppressed if "contrast" in each.what] == (
        ["contrast of t00 and t01"] if said == "out" else []
    )


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(
    ("women", "said"), [((9, 0), "balanced"), ((10, 0), "wide"), ((991, 1000), "balanced")]
)
def test_a_level_that_fewer_than_k_have_or_lack_is_not_judged(run, mode, women, said):
    result = ranked(run, two_arms(women, 1_000 if said == "balanced" else 990), mode)
    assert bool(result.balance.not_judged) == (said == "wide") and not result.balance.withheld


@pytest.mark.parametrize("mode", STUDIES)
@pytest.mark.parametrize(("receiving", "judged"), [((), True), (("south",), True), (("north",), False)])
def test_k_of_them_are_outside_a_hospital_that_receives_the_answer(run, mode, receiving, judged):
    frame = two_arms((12, 0))
    north = frame.index < 3
    sites = {"north": frame[north], "south": frame[~north].iloc[::2], "west": frame[~north].iloc[1::2]}
    sites["south"] = pd.concat([sites["south"], frame.iloc[:0]])
    result = ranked(run, frame, mode, sites=sites, receiving=receiving)
    outside = {"south": 3 + (frame.iloc[3:].iloc[1::2].sex == "f").sum()}
    expected = judged if receiving != ("south",) else outside["south"] >= 10
    assert bool(result.balance.not_judged) == expected


@pytest.mark.parametrize("mode", STUDIES)
def test_nothing_is_told_about_a_hidden_treatment(mode):
    """The third has 19 patients, all of them women or none."""
    frame, found = two_arms((500, 500)), []
    for sex in ("f", "m"):
        third = two_arms((0, 0), 19).iloc[:19].assign(drug="t02", sex=sex)
        study = STUDIES[mode](3, balance=JUDGED)
        found.append(opened(pd.concat([frame, third], ignore_index=True), study, facts=FACTS[mode]))
    assert found[0]["state"].tolist() == [0, 0, 1]
    for name in found[0]:
        assert np.array_equal(found[0][name], found[1][name]), name
    assert not np.any(found[0]["imbalanced"]) and not np.any(found[0]["out_of_balance"])


def test_missing_values_are_a_level_of_their_own_and_nobody_drops_out(run):
    frame = two_arms((500, 500))
    holed = frame.assign(sex=np.where((frame.drug == "t00") & (frame.index % 4 == 0), None, frame.sex))
    whole, found = ranked(run, frame, "neighbours"), ranked(run, holed, "neighbours")
    assert [arm.size for arm in found.arms] == [arm.size for arm in whole.arms]
    assert not whole.balance.withheld and found.balance.withheld == [("t00", "t01")]
    assert found.balance.out_of_balance == ["sex"]


def test_everybody_has_one_level_of_each_covariate():
    typed = parse_parameters("treatment_ranking", STUDIES["neighbours"](2, balance=JUDGED))
    frame = two_arms((500, 500)).assign(weight=[np.nan, 60.0] * 1_000)
    frame.loc[frame.index % 3 == 0, "sex"] = "another"
    found = CHOSEN.local(typed, SiteData(frame))["people"]["balance"]
    assert found.shape == (2_000, 3 + 4)
    assert (found[:, :3].sum(axis=1) == 1).all() and (found[:, 3:].sum(axis=1) == 1).all()
    assert found[:, 2].sum() == 667 and found[:, 6].sum() == 1_000 and found[:, 4].sum() == 1_000


@pytest.mark.parametrize("policy", [EXACT, HIDING])
@pytest.mark.parametrize("men", [0, 1])
def test_no_verdict_tells_whether_one_has_what_nobody_else_on_two_treatments_has(run, policy, men):
    """All on the first two are women, or all but one; a third treatment has both sexes."""
    size = 1_000
    frame = pd.concat(
        [two_arms((size - men, size), size), two_arms((400, 0), size).iloc[:size].assign(drug="t02")]
    )
    result = ranked(run, frame.reset_index(drop=True), "neighbours", policy, balance=JUDGED[:1])
    assert result.balance.not_judged == [("t00", "t01")]
    assert result.balance.withheld == [("t00", "t02"), ("t01", "t02")]


@pytest.mark.parametrize("protocol", ["plain", "rep3"])
def test_errors_of_fixed_point_tip_no_verdict_on_what_is_alike(protocol):
    """Two of two million patients each, all or none of whom have a level, shares off by their last places."""
    last = 2.0**-30
    with World(protocol) as world:
        given = [
            world.share(np.asarray(values), fixed=True, scale=30)
            for values in (
                [[0.3, 0.7]],  # the mix of two strata
                [[[[1.0, 0.0], [1 - last, last]], [[1 - 2 * last, 0.0], [1.0, 2 * last]]]],
                [[[2.0**-21] * 2] * 2],
                [[[1 - 2 * last, 2 * last]] * 2],
            )
        ]
        found = world.run(lambda _, shares: compared(*shares), given)
    over, lower, far, middle, wide = found[:, 0, 0] < 0
    assert not (over & lower & far).any() and not (middle | wide).any()


@pytest.mark.parametrize(("seed", "protocol"), [(0, "plain"), (1, "plain"), (2, "rep3")])
def test_what_goes_with_the_stratum_is_in_balance_for_all(seed, protocol):
    """Sums of thirds and the like differ in their last places."""
    rng = np.random.default_rng(seed)
    frame = two_arms((0, 0), 300 + int(rng.integers(90)))
    frame = frame.assign(
        severe=rng.integers(0, 2, len(frame)), year=rng.choice([2015, 2020], len(frame), p=[0.3, 0.7])
    )
    frame["sex"] = np.where(frame.severe == 1, "f", "m")
    found = opened(frame, STUDIES["neighbours"](2, balance=JUDGED[:1]), protocol)
    assert found["state"].tolist() == [0, 0]
    assert not found["unjudged"].any() and not found["imbalanced"].any()


def test_what_is_adjusted_for_is_in_balance_and_what_is_not_is_judged_too(run):
    """Sickness goes with the treatment: standardised to one mix it is even, and by itself it is not."""
    frame = data.patients(6_000, 2)
    judged = [{"variable": "severe", "levels": ["0", "1"]}]
    adjusted, crude = (
        ranked(run, frame, "neighbours", balance=judged, **changes) for changes in ({}, {"strata": []})
    )
    assert not adjusted.balance.withheld and not adjusted.balance.not_judged
    assert crude.balance.withheld == [("t00", "t01")]


def test_setting_a_treatment_aside_keeps_the_verdicts_of_the_others(run):
    frame = described(data.patients(3_000, 4))
    result = ranked(run, frame, "neighbours")
    assert ("t01", "t02") in result.balance.withheld and result.balance.out_of_balance == ["sex"]
    fewer = result.without(["t02"])
    assert fewer.balance.withheld == [pair for pair in result.balance.withheld if "t02" not in pair]
    assert fewer.balance.not_judged == [pair for pair in result.balance.not_judged if "t02" not in pair]
    rest = result.without(["t01"])
    assert rest.balance.withheld == [] and rest.balance.out_of_balance == []
    again = Balance.model_validate_json(result.balance.model_dump_json())
    assert again == result.balance


def test_a_contrast_that_is_withheld_rules_nobody_out_until_one_of_both_is_set_aside(run):
    """The second is worse than the first and than the third; only the third may rule it out."""
    first = two_arms((500, 700))
    frame = pd.concat([first, first[first.drug == "t00"].assign(drug="t02", sex="m")], ignore_index=True)
    frame.loc[frame.drug == "t02", "sex"] = first.sex[first.drug == "t01"].to_numpy()
    result = ranked(run, frame, "neighbours")
    assert result.balance.withheld == [("t00", "t01"), ("t00", "t02")]
    assert result.cannot_be_ruled_out == ["t00", "t02"]
    assert result.without(["t02"]).cannot_be_ruled_out == ["t00", "t01"]


def test_where_treatments_do_not_differ_a_contrast_is_rarely_withheld(run):
    """Sex by chance alone: about one pair in fifty where some have an effective size of 60."""
    withheld = pairs = 0
    for seed in range(15):
        frame = data.patients(2_500, 4, seed=seed, equal=True)
        sex = np.random.default_rng(9_000 + seed).choice(["f", "m"], len(frame))
        result = ranked(run, frame.assign(sex=sex), "neighbours", balance=JUDGED[:1])
        count = len(result.arms)
        pairs, withheld = pairs + count * (count - 1) // 2, withheld + len(result.balance.withheld)
    assert pairs >= 50 and withheld <= 0.08 * pairs


def test_a_study_without_covariates_says_so_and_costs_nothing_more(run):
    frame = described(data.patients(900, 3))
    plain = ranked(run, frame, "neighbours", balance=[])
    assert plain.balance is None
    assert "Balance not judged: the study names no covariates for it." in plain.notes
    judged = ranked(run, frame, "neighbours")
    assert not any("Balance not judged" in note for note in judged.notes)
    costs = [
        counted(CHOSEN, parse_parameters("treatment_ranking", study), Released(HIDING, ("a", "b", "c")), 300, "rep4")
        for study in (data.parameters(3), data.parameters(3, balance=JUDGED))
    ]  # fmt: skip
    assert costs[0].rounds + 20 <= costs[1].rounds <= costs[0].rounds + 32
    tables = CHOSEN.tables(parse_parameters("treatment_ranking", data.parameters(3)))
    names = {column.name for table in tables for column in table.columns}
    assert "balance" not in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balance": [JUDGED[0], JUDGED[0]]}, "balance: names must be distinct"),
        ({"balance": [{"variable": "weight", "cuts": list(range(64))}]}, "66 levels"),
        ({"balance": [{"variable": f"c{n}", "levels": ["0", "1"]} for n in range(17)]}, "at most 16"),
    ],
)
def test_parameters_are_refused_with_a_reason(changes, message):
    with pytest.raises(ParametersRefused, match=message):
        parse_parameters("treatment_ranking", data.parameters(3, **changes))


def test_pairs_of_treatments_and_all_unions_of_cells_together_are_bounded():
    with pytest.raises(
        ParametersRefused, match="558600 numbers of pair of treatments x level; at most 500000"
    ):
        parse_parameters("treatment_ranking", data.parameters(400, balance=JUDGED))
    study = data.cells(130, "first", "second", balance=JUDGED)
    with pytest.raises(ParametersRefused, match="union of cells; at most 4000000"):
        parse_parameters("treatment_ranking", study)
