"""What a signed study fixes about a linear or logistic regression."""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.coded import CodedOrLevels, Codes, uncounted
from mpc_backend.analyses.grid import ColumnName
from mpc_backend.analyses.logistic_newton import STEPS

MOST_TERMS = 20
INTERCEPT = "(Intercept)"
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Predictor(CodedOrLevels):
    """One covariate: declared ``levels``, of which the first is the reference; or a number with ``centre`` and ``scale``.

    Centre and scale are public guesses at mean and standard deviation. They keep secret numbers in range and change no
    answer; off by a factor of ten they still do. ``codes``: the few values that a number has (0 and 1, say), so that
    persons of each are counted before anything is shown, as at levels.
    """

    centre: Finite | None = None
    scale: Positive | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Predictor:
        number = self.centre is not None and self.scale is not None
        if number == (self.levels is not None) or (self.centre is None) != (self.scale is None):
            raise ValueError(f"covariate {self.variable}: give either levels, or centre and scale")
        return self

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of its coefficients, as in R: the variable, or the variable with each level but the first."""
        if self.levels is None:
            return (self.variable,)
        return tuple(f"{self.variable}{level}" for level in self.levels[1:])


class RegressionParameters(Parameters):
    """Parameters of ``linear`` and ``logistic``: the mean, or the log odds, of ``outcome`` by ``predictors``.

    Persons with a missing value in any of them do not count. Intervals have level ``confidence``.
    """

    outcome: ColumnName
    predictors: Annotated[tuple[Predictor, ...], Field(min_length=1, max_length=MOST_TERMS)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _consistent(self) -> RegressionParameters:
        names = [self.outcome, *(predictor.variable for predictor in self.predictors)]
        if len(set(names)) != len(names):
            raise ValueError("predictors: each variable may be named once, and the outcome is none of them")
        if len(self.terms) - 1 > MOST_TERMS:
            raise ValueError(f"predictors: {len(self.terms) - 1} coefficients; at most {MOST_TERMS}")
        return self

    @property
    def covariates(self) -> tuple[str, ...]:
        """Every variable that is read."""
        return (self.outcome, *(predictor.variable for predictor in self.predictors))

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes."""
        return uncounted(self.predictors)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients, the intercept first."""
        return (INTERCEPT, *itertools.chain.from_iterable(each.terms for each in self.predictors))

    @property
    def levels(self) -> tuple[tuple[str, str], ...]:
        """Every (variable, level or code), references included, in the order in which persons are counted."""
        return tuple((each.variable, level) for each in self.predictors for level in each.counted)

    @property
    def scales(self) -> NDArray[np.float64]:
        """By what each design column is divided (terms,)."""
        return np.array([1.0, *(each.scale or 1.0 for each in self.predictors for _ in each.terms)])

    @property
    def back(self) -> NDArray[np.float64]:
        """(terms,): the intercept at zero of every variable is this row times the coefficients of the design."""
        offsets = [(each.centre or 0.0) / (each.scale or 1.0) for each in self.predictors for _ in each.terms]
        return np.array([1.0, *(-offset for offset in offsets)])


class LinearParameters(RegressionParameters):
    """Parameters of ``linear``. ``outcome_centre``, ``outcome_scale`` and ``outcome_codes``: as those of a predictor. Where
    the outcome has codes, persons of each are counted at every level of a covariate too."""

    outcome_centre: Finite
    outcome_scale: Positive
    outcome_codes: Codes | None = None

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes, the outcome among them."""
        return (*(() if self.outcome_codes else (self.outcome,)), *super().uncounted)

    @property
    def groups(self) -> int:
        """Groups of the outcome, in which persons are counted: one of each code."""
        return len(self.outcome_codes or ("all",))


class LogisticParameters(RegressionParameters):
    """Parameters of ``logistic``, of an outcome that is 0 or 1. ``steps``: of Newton's method, whatever the data."""

    steps: Annotated[int, Field(ge=3, le=25)] = STEPS

    @property
    def groups(self) -> int:
        """Groups of the outcome, in which persons are counted: without it and with it."""
        return 2
