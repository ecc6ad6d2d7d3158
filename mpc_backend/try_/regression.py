"""`tessera try linear` and `tessera try logistic`: a model of one column by others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mpc_backend.analyses.errors import LocalDataError, ParametersRefused
from mpc_backend.analyses.grid import column, whole_numbers
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.regression_parameters import INTERCEPT, MOST_TERMS
from mpc_backend.analyses.regression_result import RegressionResult, Term
from mpc_backend.try_.data import by_site, levels
from mpc_backend.try_.declare import codes_of, place_and_spread
from mpc_backend.try_.output import TAIL, Output, OutputPart, TestOutput, cell_words, number
from mpc_backend.try_.running import Answer, Setting, answer

OUTCOME = "outcome"
Kind = Literal["linear", "logistic"]


@dataclass(frozen=True)
class RegressionChoice:
    """The options of the command."""

    kind: Kind
    outcome: str
    covariates: tuple[str, ...]
    site: str | None


class FisherOutput(OutputPart):
    """All slopes are zero."""

    f: float
    df: int
    residual_df: int
    p: float


class LinearTerm(OutputPart):
    """One coefficient; null where it is withheld or not estimable."""

    name: str
    coef: float | None
    se: float | None
    t: float | None
    p: float | None
    lower: float | None
    upper: float | None


class LogisticTerm(OutputPart):
    """One coefficient in log odds; null where it is withheld or not estimable."""

    name: str
    coef: float | None
    se: float | None
    z: float | None
    p: float | None
    lower: float | None
    upper: float | None
    odds_ratio: float | None
    odds_ratio_lower: float | None
    odds_ratio_upper: float | None


class LinearOutput(Output):
    """What `tessera try linear --json` prints."""

    n: int | None
    terms: list[LinearTerm]
    r_squared: float | None
    adjusted_r_squared: float | None
    sigma: float | None
    residual_df: int | None
    test: FisherOutput | None
    why_not: str | None


class LogisticOutput(Output):
    """What `tessera try logistic --json` prints."""

    n: int | None
    events: int | None
    terms: list[LogisticTerm]
    lr: TestOutput | None
    why_not: str | None


def regression(frame: pd.DataFrame, choice: RegressionChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing outcome or covariate do not count."""
    if not choice.covariates:
        raise ParametersRefused("--covariates names at least one column")
    if choice.outcome in choice.covariates:
        raise ParametersRefused(f"column {choice.outcome} is the outcome; leave it out of --covariates")
    if choice.kind == "logistic":
        whole_numbers(frame, choice.outcome, 0, 1)  # refused by the file's own name of the column
    ready, declared = pd.DataFrame({OUTCOME: column(frame, choice.outcome)}), []
    for place, source in enumerate(choice.covariates):
        ready[f"covariate{place}"] = column(frame, source)
        declared.append(declaration(frame, source, f"covariate{place}", choice))
    parameters: dict[str, Any] = {"outcome": OUTCOME, "predictors": declared}
    if choice.kind == "linear":
        centre, scale = place_and_spread(frame, choice.outcome)
        parameters |= {"outcome_centre": centre, "outcome_scale": scale}
        parameters["outcome_codes"] = codes_of(frame, choice.outcome, choice.site, choice.covariates)
    typed = parse_parameters(choice.kind, parameters)
    names = {f"covariate{place}": source for place, source in enumerate(choice.covariates)}
    sites = by_site(ready, frame, choice.site)
    done = answer(analysis(choice.kind), typed, setting, sites, names={**names, OUTCOME: choice.outcome})
    assert isinstance(done.result, RegressionResult)
    return Answer(_named(done.result, names, choice.outcome), done.protocol, done.seconds)


def declaration(frame: pd.DataFrame, source: str, name: str, choice: RegressionChoice) -> dict[str, Any]:
    """A numeric column with centre, scale and codes, any other with its levels, as a study would declare it."""
    if pd.api.types.is_numeric_dtype(column(frame, source).dtype):
        centre, scale = place_and_spread(frame, source)
        codes = codes_of(frame, source, choice.site, (choice.outcome, *choice.covariates))
        return {"variable": name, "centre": centre, "scale": scale, "codes": codes}
    found = levels(frame, source, MOST_TERMS + 1)
    if len(found) == 1:
        raise LocalDataError(f"column {source} has one level only; a covariate needs two")
    return {"variable": name, "levels": list(found)}


def _named(result: RegressionResult, names: dict[str, str], outcome: str) -> RegressionResult:
    """The result with the file's own names."""

    def own(name: str) -> str:
        for place in sorted(names, key=len, reverse=True):
            if name.startswith(place):
                return names[place] + name.removeprefix(place)
        return name

    terms = [
        term if term.name == INTERCEPT else term.model_copy(update={"name": own(term.name)})
        for term in result.terms
    ]
    what = result.estimand.split(" of ")[0]
    estimand = f"{what} of {outcome} by {', '.join(names.values())}"
    return result.model_copy(update={"terms": terms, "estimand": estimand})


def as_json(result: RegressionResult) -> dict[str, Any]:
    """The JSON form (docs/schemas), without what every object ends with."""
    test = result.test
    output: Output
    if result.kind == "linear":
        fisher = None
        if test is not None and result.residual_df is not None:
            fisher = FisherOutput(f=test.statistic, df=test.df, residual_df=result.residual_df, p=test.p)
        output = LinearOutput(
            n=number(result.n), terms=[_linear(term) for term in result.terms], r_squared=result.r_squared,
            adjusted_r_squared=result.adjusted_r_squared, sigma=result.sigma, residual_df=result.residual_df,
            test=fisher, why_not=result.why_not,
        )  # fmt: skip
    else:
        lr = None if test is None else TestOutput(chi2=test.statistic, df=test.df, p=test.p)
        events = None if result.events is None else number(result.events)
        terms = [_logistic(term) for term in result.terms]
        output = LogisticOutput(n=number(result.n), events=events, terms=terms, lr=lr, why_not=result.why_not)
    return output.model_dump(exclude=set(TAIL))


def _linear(term: Term) -> LinearTerm:
    return LinearTerm(
        name=term.name, coef=term.coef, se=term.se, t=term.statistic, p=term.p, lower=term.lower, upper=term.upper
    )  # fmt: skip


def _logistic(term: Term) -> LogisticTerm:
    return LogisticTerm(
        name=term.name, coef=term.coef, se=term.se, z=term.statistic, p=term.p, lower=term.lower, upper=term.upper,
        odds_ratio=term.odds_ratio, odds_ratio_lower=term.odds_ratio_lower, odds_ratio_upper=term.odds_ratio_upper,
    )  # fmt: skip


def in_words(result: RegressionResult) -> list[str]:
    """One line a coefficient, one for the model."""
    size = cell_words(result.n)
    lines = [f"{result.estimand}; persons {size}"]
    lines += [_line(term, result) for term in result.terms]
    if result.test is not None and result.kind == "linear":
        lines.append(
            f"R squared {result.r_squared:.4g}, residual standard error {result.sigma:.4g}, F {result.test.statistic:.4g} on "
            f"{result.test.df} and {result.residual_df} df, p {result.test.p:.3g}"
        )
    elif result.test is not None:
        lines.append(
            f"likelihood ratio chi2 {result.test.statistic:.4g} on {result.test.df} df, p {result.test.p:.3g}"
        )
    return lines


def _line(term: Term, result: RegressionResult) -> str:
    if term.coef is None or term.lower is None or term.upper is None:
        return f"{term.name:<24} no number ({result.why_not})"
    odds = f", odds ratio {term.odds_ratio:.4g}" if term.odds_ratio is not None else ""
    p = "" if term.p is None else f", p {term.p:.3g}"
    return (
        f"{term.name:<24} {term.coef:.4g} (SE {term.se:.3g}, {term.lower:.4g} to {term.upper:.4g}){p}{odds}"
    )
