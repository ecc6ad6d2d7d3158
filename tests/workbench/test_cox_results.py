"""A Cox regression where people read it: in a study's words, in tables, and on a page."""

from types import SimpleNamespace

import pandas as pd
import pytest

from governance.study import StudyAnalysis
from mpc_backend.analyses.cox_result import NOT_ESTIMABLE, ChiSquare, CoxResult, CoxTerm, CoxTests, estimated
from tests.workbench.samples import survival as survival_sample
from workbench.frames import tables_of
from workbench.parts.cox import hazard_table, made_how
from workbench.study_words import analysis_words

COX = {
    "covariates": [
        {"variable": "age", "scale": 10},
        {"variable": "smoking_status", "levels": ["never", "ever"]},
    ]
}


def words(**cox: object) -> str:
    parameters = {"outcome": "death", "arm": "drug", "arms": ["a", "b"], "horizon": 24, "cox": {**COX, **cox}}
    entry = StudyAnalysis(id="hazards", kind="survival", cohort="ill", parameters=parameters)
    return analysis_words(SimpleNamespace(), entry)  # type: ignore[arg-type]


def result() -> CoxResult:
    return CoxResult(
        ties="efron", n=None, events=None, stratified_by="hospital", clustered=True,
        terms=[
            estimated("age", 0.02, 0.004, 0.005, clustered=True, confidence=0.95),
            CoxTerm(name="smoking_status ever", why=NOT_ESTIMABLE),
        ],
        tests=CoxTests(wald=None, score=12.0, lr=11.5, df=2), ph=ChiSquare(chi2=1.2, df=2, p=0.5488),
    )  # fmt: skip


def test_words_name_covariates_and_what_errors_are_robust_by():
    assert words().endswith(
        " Hazard ratios of age and smoking status by Cox regression within each hospital."
    )
    assert words(cluster="household").endswith("within each hospital; errors are robust by household.")


def test_tables_hold_numbers_and_say_why_one_is_missing():
    tables = tables_of(survival_sample().model_copy(update={"cox": result()}))
    hazards, tests = tables["hazards"], tables["tests"].set_index("test")
    assert list(hazards["term"]) == ["age", "smoking_status ever"] and hazards["hr"].dtype == float
    assert pd.isna(hazards["coef"][1]) and hazards["why"][1] == NOT_ESTIMABLE
    assert hazards["upper"][0] == pytest.approx(1.0302483, abs=1e-6)
    assert tests.loc["Cox, likelihood ratio", "p"] == pytest.approx(0.003183, abs=1e-6)
    assert "Cox, Wald" not in tests.index and tests.loc["Cox, proportional hazards", "df"] == 2
    assert "hazards" not in tables_of(survival_sample())


def test_a_page_shows_ratios_with_limits():
    table = hazard_table(result())
    assert table.loc["age", "Hazard ratio"] == "1.02 (1.01 to 1.03)" and table.loc["age", "p"] == "< 0.001"
    assert table.loc["smoking_status ever", "Hazard ratio"].startswith("not shown: not estimable")
    assert "ties by Efron" in made_how(result()) and "robust, by person" in made_how(result())
