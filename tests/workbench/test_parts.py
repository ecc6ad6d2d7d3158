"""What pages show, as pure functions of typed results: hidden is a word, the first line a sentence."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from mpc_backend.analyses.cells import ReleasedCount
from mpc_backend.analyses.cohort_count import CountResult, Step
from mpc_backend.analyses.ranking_arms import NegativeControl, OutcomeEstimate, RiskEstimate
from mpc_backend.analyses.ranking_contrasts import Balance
from mpc_backend.analyses.ranking_parameters import Category, RankingParameters, Tier
from mpc_backend.analyses.ranking_result import HELD_BACK
from mpc_backend.analyses.survival_result import Median
from tests.workbench.samples import HIDDEN, MERGED, estimate, shown
from tests.workbench.samples import ranking as ranking_sample
from tests.workbench.samples import survival as survival_sample
from workbench.errors import DraftError
from workbench.frames import table_of, tables_of
from workbench.parts import attrition, ranking, survival
from workbench.parts.cells import band_text, cell_text, share_text
from workbench.parts.patient_form import UNKNOWN, facts, marker_facts, questions
from workbench.parts.states import State, describe, not_approved, partial


def count(last: object = HIDDEN) -> CountResult:
    steps = [
        Step(label="Entry event", count=shown(1930)),
        Step(label="18 years or older", count=MERGED),
        Step(label="metformin", count=last),
    ]
    return CountResult(population=shown(48210), steps=steps, count=last, release="…")


# ---- counts


def test_hidden_is_never_zero_or_blank() -> None:
    texts = [cell_text(HIDDEN), cell_text(MERGED), band_text(HIDDEN)]
    assert all("hidden" in text for text in texts)
    assert "fewer than 10" in band_text(HIDDEN)
    table = attrition.attrition_table(count())
    assert list(table["Patients left"]) == ["~48,210", "~1,930", "as above (hidden)", "hidden"]
    assert list(attrition.csv_table(count())["persons"]) == [48210, 1930, "hidden", "hidden"]
    assert table_of(count())["persons"].isna().tolist() == [False, False, True, True]


def test_a_true_zero_that_may_be_shown_is_shown() -> None:
    zero = ReleasedCount(value=0, band=(0, 0))
    assert cell_text(zero) == "0"
    assert attrition.headline(count(zero)).startswith("0 patients")


def test_shares_come_from_shown_numbers_only() -> None:
    assert share_text(shown(410), shown(1930)) == "21%"
    assert share_text(HIDDEN, shown(1930)) == "–"
    assert share_text(shown(0), ReleasedCount(value=0, band=(0, 0))) == "–"


def test_the_attrition_chart_draws_hidden_steps_as_stubs_with_the_word() -> None:
    drawn = attrition.attrition_chart(count()).to_dict()
    (rows,) = drawn["datasets"].values()
    hidden = [row for row in rows if row["hidden"]]
    assert [row["text"] for row in hidden] == ["as above (hidden)", "hidden"]
    assert all(0 < row["length"] < 1930 * 0.05 for row in hidden)


# ---- survival


def test_curves_start_at_one_and_end_where_they_may_be_shown() -> None:
    frame = survival.curve_frame(survival_sample())
    for arm, end in (("sulfonylurea", 60), ("DPP-4 inhibitor", 51)):
        rows = frame[frame["arm"] == arm]
        assert (rows.iloc[0]["time"], rows.iloc[0]["estimate"]) == (0, 1.0)
        assert rows["time"].max() == end
        assert rows["time"].is_monotonic_increasing
    month = frame[(frame["arm"] == "sulfonylurea") & (frame["time"] == 30)].iloc[0]
    assert month["estimate"] == pytest.approx(math.exp(-0.018 * 30))


def test_the_km_chart_tells_arms_apart_and_keeps_its_table_on_the_same_time_axis() -> None:
    drawn = survival.km_chart(survival_sample()).to_dict()
    lines = [layer for layer in drawn["layer"] if layer["mark"]["type"] == "line"]
    assert [line["mark"]["interpolate"] for line in lines] == ["step-after"]
    colours = lines[0]["encoding"]["color"]["scale"]["range"]
    dashes = [tuple(dash) for dash in lines[0]["encoding"]["strokeDash"]["scale"]["range"]]
    assert len(set(colours)) == len(set(dashes)) == 2
    axes = [layer["encoding"]["x"] for layer in drawn["layer"] if "field" in layer["encoding"]["x"]]
    assert len(axes) == 4, "curves, band and one row of the table for each arm"
    assert all(axis == axes[0] for axis in axes)
    assert axes[0]["axis"]["title"] == "Months since the index date"
    assert "width" not in drawn, "as wide as the page lets it be"
    rows = [row for rows in drawn["datasets"].values() for row in rows]
    assert {row["name"] for row in rows if "name" in row} == {
        survival.AT_RISK,
        "sulfonylurea",
        "DPP-4 inhibitor",
    }
    texts = [row["text"] for row in rows if "text" in row]
    assert "hidden" in texts
    assert not any(text.startswith("0") for text in texts)


def test_the_at_risk_table_has_words_and_units_and_says_why_cells_are_hidden() -> None:
    table = survival.at_risk_table(survival_sample())
    assert list(table.columns) == ["Group", "Months", "At risk", "Events so far", "Censored so far"]
    assert list(table.iloc[4]) == ["sulfonylurea", 60, "hidden", "hidden", "~600"]
    assert survival.hidden_note(survival_sample()) == (
        "Hidden: fewer than 10 persons; or fewer than 10 persons apart from the last number shown."
    )


def test_cumulative_incidence_turns_curve_and_limits_over() -> None:
    rows = survival.km_chart(survival_sample(), failures=True).to_dict()["datasets"]
    curve = next(rows for rows in rows.values() if "estimate" in rows[0])
    step = next(row for row in curve if row["time"] == 30 and row["arm"] == "sulfonylurea")
    assert step["estimate"] == pytest.approx(1 - math.exp(-0.018 * 30))
    assert step["lower"] <= step["estimate"] <= step["upper"]


def test_the_survival_headline_is_a_sentence_with_its_interval() -> None:
    result = survival_sample()
    assert "5.3 more months" in survival.headline(result)
    assert "3.1 to 7.5" in survival.headline(result)
    unclear = result.rmst_contrasts[0].model_copy(update={"lower": -1.0})
    assert "includes no difference" in survival.headline(
        result.model_copy(update={"rmst_contrasts": [unclear]})
    )
    curve = result.arms[0].curve
    assert survival.median_text(curve) == "39 (30 to not reached)"
    never = Median(estimate=None, lower=None, upper=None)
    assert survival.median_text(curve.model_copy(update={"median": never})) == "not reached"


# ---- ranking


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        (
            [estimate("a", 20, best=True), estimate("b", 19, best=True)],
            "No clear difference among the 2 treatments",
        ),
        ([estimate("a", 20, best=True), estimate("b", 9, best=False)], "a did better than the other 1"),
        ([estimate("a", 20, best=True)], "nothing can be compared"),
    ],
)
def test_the_ranking_headline_never_names_a_bare_winner(arms: list, words: str) -> None:
    assert words in ranking.headline(ranking_sample(*arms))


def test_without_a_tier_nothing_is_compared() -> None:
    result = ranking_sample(tier=None).model_copy(update={"arms": []})
    assert "No comparison is possible" in ranking.headline(result)
    assert "no step finds enough of them on two treatments" in ranking.basis(result)


def test_hidden_treatments_are_counted_by_reason() -> None:
    words = ranking.hidden_sentence(ranking_sample(hidden=97))
    assert words == "97 treatments show no number: too few comparable patients (96); follow-up too short (1)."


def test_what_earlier_answers_withhold_is_told_where_the_hidden_treatments_are() -> None:
    result = ranking_sample()
    assert ranking.held_back(result) == []
    note = f"{HELD_BACK}: regimen 003. Both answers together could tell of single patients."
    told = result.model_copy(update={"notes": [*result.notes, note]})
    assert ranking.held_back(told) == [note]
    assert ranking.caveats(told) == ranking.caveats(result)


def test_a_withheld_total_is_said_to_be_withheld() -> None:
    result = ranking_sample().model_copy(update={"total": None})
    assert "withheld" in ranking.basis(result)


def test_the_arm_table_shows_intervals_bands_and_few_failures() -> None:
    table = ranking.arm_table(ranking_sample())
    assert table.loc["regimen 052", "Failures seen"] == "fewer than 10"
    assert table.loc["regimen 014", "Comparable patients"] == "40 to 49"
    assert table.loc["regimen 014"].iloc[2] == "21.4 (19.4 to 23.4)"


def test_harm_stands_beside_the_benefit_or_says_why_not() -> None:
    known = OutcomeEstimate(estimate=18.2, standard_error=1.0, lower=16.1, upper=20.0)
    arms = [estimate("a", 20, best=True), estimate("b", 9, best=False)]
    harms = [known, OutcomeEstimate(why_not="follow-up too short")]
    both = [arm.model_copy(update={"harm": harm}) for arm, harm in zip(arms, harms, strict=True)]
    result = ranking_sample(*both).model_copy(update={"harm_measure": "restricted mean time to stopped"})
    column = "Mean months without harm (95% interval)"
    assert list(ranking.arm_table(result)[column]) == ["18.2 (16.1 to 20.0)", "withheld: follow-up too short"]
    assert column not in ranking.arm_table(ranking_sample(*arms))
    assert "Harm: restricted mean time to stopped, among the same patients." in ranking.caveats(result)
    table = table_of(result)
    assert (
        table["harm_estimate"].tolist()[0] == 18.2
        and table["harm_why_not"].tolist()[1] == "follow-up too short"
    )


# ---- the physician's form


def test_risk_ratios_e_values_and_the_negative_control_are_told() -> None:
    arms = [estimate("a", 20, best=True), estimate("b", 9, best=False), estimate("c", 8, best=False)]
    first, second = (RiskEstimate(risk=risk, standard_error=0.02) for risk in (0.2, 0.4))
    risks = [first, second.against("a", first), RiskEstimate().against("a", first)]
    known = OutcomeEstimate(estimate=18.2, standard_error=1.0, lower=16.1, upper=20.0)
    control = NegativeControl(measure="time to a_fall", distinguishable=True, verdict="treatments differ")
    given = [
        arm.model_copy(update={"risk": risk, "control": known}) for arm, risk in zip(arms, risks, strict=True)
    ]
    result = ranking_sample(*given).model_copy(update={"negative_control": control})
    table = ranking.arm_table(result)
    ratios = table["Risk ratio (95% interval)"].tolist()
    assert ratios == ["reference", "2.00 (1.61 to 2.49)", "withheld: too few failures to tell a risk"]
    assert table["E-value (of the limit)"].tolist() == ["", "3.4 (2.6)", ""]
    assert table["Mean months without the negative control"].tolist() == ["18.2 (16.1 to 20.0)"] * 3
    assert (
        ranking.control_line(result) == "Treatments differ." and ranking.control_line(ranking_sample()) == ""
    )
    assert any("no treatment should change: time to a fall" in said for said in ranking.caveats(result))
    rows = table_of(result)
    assert (
        rows["risk_ratio"].tolist()[1] == pytest.approx(2) and rows["control_estimate"].tolist() == [18.2] * 3
    )


def test_contrasts_withheld_for_balance_are_told_on_the_page_and_soften_the_headline() -> None:
    arms = [estimate("a", 20, best=True), estimate("b_1", 9, best=False), estimate("c", 8, best=False)]
    balance = Balance(
        covariates=["age_band", "sex"],
        out_of_balance=["age_band"],
        withheld=[("a", "c")],
        not_judged=[("a", "b_1")],
    )
    result = ranking_sample(*arms).model_copy(update={"balance": balance})
    assert "only a cannot be ruled out" in ranking.headline(result)
    lines = ranking.balance_lines(result)
    assert lines[0].startswith(
        "Out of balance between some treatments: Age band. The contrast of a and c is withheld"
    )
    assert lines[1] == (
        "Balance in Age band, Sex cannot be judged between one pair of treatments: too few comparable patients."
    )
    assert tables_of(result)["contrasts"].to_dict("records") == [
        {"one": "a", "other": "c", "balance": "out of balance"},
        {"one": "a", "other": "b_1", "balance": "cannot be judged"},
    ]
    even = result.model_copy(update={"balance": balance.among(["b_1", "c"])})
    assert ranking.balance_lines(even) == [
        "Comparable patients on the treatments shown are alike in Age band, Sex."
    ]
    assert "a did better than the other 2" in ranking.headline(even)
    assert ranking.balance_lines(ranking_sample(*arms)) == []


def parameters() -> RankingParameters:
    return RankingParameters(
        treatment="regimen",
        treatments=("a", "b"),
        outcome="failure",
        tau=24,
        markers=("marker_01", "marker_02"),
        age="age",
        equal=(Category(variable="stage", levels=("A", "B")),),
        tiers=(Tier(name="strict", max_distance=1, age_within=5, equal=("stage",)),),
        period={"variable": "index_year", "cuts": [2015]},
    )


def test_the_form_asks_what_the_study_matches_on_and_unknown_facts_are_left_out() -> None:
    asked = questions(parameters())
    assert [one.name for one in asked] == ["age", "stage"]
    assert facts(asked, {"age": 61, "stage": UNKNOWN}) == {"age": 61}
    assert facts(asked, {"age": 0, "stage": "B"}) == {"age": 0, "stage": "B"}


def test_markers_are_present_absent_or_left_out() -> None:
    markers = parameters().markers
    assert marker_facts(markers, True, ["marker_01"], []) == {"marker_01": 1, "marker_02": 0}
    assert marker_facts(markers, True, [], ["marker_02"]) == {"marker_01": 0}
    assert marker_facts(markers, False, [], []) == {}
    with pytest.raises(DraftError, match="Marker 01"):
        marker_facts(markers, True, ["marker_01"], ["marker_01"])
    with pytest.raises(DraftError, match="not to be tested"):
        marker_facts(markers, False, ["marker_01"], [])


# ---- states


def test_states_name_who_is_missing() -> None:
    assert partial(["node-c"], 4).text == "3 of 4 answered; no answer: node-c."
    state = not_approved(["north"], ["west"])
    assert state == State(
        "warning", "This study may not run. Waiting for the signature of north. Declined by west."
    )


def test_an_unexpected_error_shows_a_reference_and_logs_no_value(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError("patient aged 61")
    except ZeroDivisionError as error:
        state = describe(error)
    assert "reference" in state.text
    assert "patient" not in state.text + caplog.text
    assert "test_parts.py" in caplog.text


def test_the_survival_table_for_notebooks_is_numeric() -> None:
    frame = table_of(survival_sample())
    assert set(frame["curve"]) == {"main", "crude"}
    assert pd.api.types.is_float_dtype(frame["estimate"])
