"""What a signed study fixes about a comparison of two treatments: arms, outcome, score, weights, horizon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.coded import CodedOrLevels, uncounted
from mpc_backend.analyses.grid import ColumnName, Level, Unit

Finite = Annotated[float, Field(allow_inf_nan=False)]
Weights = Literal["iptw", "overlap", "strata", "none"]
MOST_TIMES = 2_000
"""Of the grid up to tau."""
MOST_COLUMNS = 24
"""Columns of the score, its constant and the hospitals included."""
STRATA = 5
"""Propensity strata: quintiles."""


class Covariate(CodedOrLevels):
    """A covariate: its ``levels`` as text, the first of them the reference; or a number, taken as
    (value - ``centre``) / ``scale``, which are public and should be about its mean and standard deviation, with its ``codes``
    where it has few values."""

    levels: Annotated[tuple[Level, ...], Field(min_length=2, max_length=20)] | None = None
    centre: Finite | None = None
    scale: Annotated[Finite, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Covariate:
        number = self.centre is not None and self.scale is not None
        if number == (self.levels is not None) or (self.centre is None) != (self.scale is None):
            raise ValueError(f"covariate {self.variable}: give either levels, or centre and scale")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """One label a column: a number has one, two levels one for the second, more levels one each."""
        if self.levels is None:
            return (self.variable,)
        shown = self.levels if len(self.levels) > 2 else self.levels[1:]
        return tuple(f"{self.variable} {level}" for level in shown)

    @property
    def score_columns(self) -> int:
        """Columns in the score: all but the reference's."""
        return 1 if self.levels is None else len(self.levels) - 1


class ComparativeParameters(Parameters):
    """Parameters of ``comparative_effectiveness``.

    ``arms``: the comparator, then the treatment that is compared with it. ``outcome``: a time-to-event variable in
    ``time_unit``, taken by ceiling to ``unit``; ``tau`` counts ``unit``s. ``score``: covariates of the propensity score,
    beside ``period`` (the index year, always adjusted for, unless the study says that the data hold no index date) and,
    with ``hospital``, the hospital. ``balance``: further covariates whose balance is shown. ``truncation`` t: scores beyond
    [t, 1 - t] count as extreme, and as t or 1 - t in weights ``iptw``. ``allow_crude``: the study accepts ``weights`` none.
    ``negative_control``: an outcome that the treatment cannot cause.
    """

    outcome: ColumnName
    arm: ColumnName
    arms: tuple[Level, Level]
    score: Annotated[tuple[Covariate, ...], Field(max_length=20)] = ()
    period: Covariate | Literal["not available"]
    hospital: bool = True
    balance: Annotated[tuple[Covariate, ...], Field(max_length=20)] = ()
    weights: Weights = "overlap"
    truncation: Annotated[float, Field(ge=0.001, le=0.2)] = 0.01
    allow_crude: bool = False
    negative_control: ColumnName | None = None
    time_unit: Unit = "day"
    unit: Unit = "month"
    tau: Annotated[int, Field(ge=1, le=MOST_TIMES)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _consistent(self) -> ComparativeParameters:
        if len(set(self.arms)) != 2:
            raise ValueError("arms: labels must be distinct")
        if self.weights == "none" and not self.allow_crude:
            raise ValueError(
                "weights: none compares treatments without adjustment; a study that means it says allow_crude"
            )
        names = [covariate.variable for covariate in self.all_covariates]
        if len(set(names)) != len(names):
            raise ValueError("score, period and balance: name each covariate once")
        if self.arm in names or self.outcome == self.negative_control:
            raise ValueError("the arm is no covariate, and the outcome is not its own negative control")
        if not names or (self.weights != "none" and not self.in_score):
            raise ValueError(
                "score: name at least one covariate; for weights none one whose balance is shown"
            )
        if self.score_width > MOST_COLUMNS - 1:
            raise ValueError(
                f"score: {self.score_width} columns; at most {MOST_COLUMNS - 1} beside the constant"
            )
        return self

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The outcome, and the negative control, in ``time_unit``."""
        return dict.fromkeys(self.endpoints, self.time_unit)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The outcome first."""
        return (self.outcome, *((self.negative_control,) if self.negative_control else ()))

    @property
    def covariates(self) -> tuple[str, ...]:
        """The arm, and every covariate."""
        return (self.arm, *(covariate.variable for covariate in self.all_covariates))

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes."""
        return uncounted(self.all_covariates)

    @property
    def in_score(self) -> tuple[Covariate, ...]:
        """The covariates of the score, the period first."""
        return (*((self.period,) if isinstance(self.period, Covariate) else ()), *self.score)

    @property
    def all_covariates(self) -> tuple[Covariate, ...]:
        """Those of the score first, then those whose balance alone is shown."""
        return (*self.in_score, *self.balance)

    @property
    def columns(self) -> tuple[str, ...]:
        """A label for every shared column of covariates."""
        return tuple(label for covariate in self.all_covariates for label in covariate.labels)

    @property
    def score_width(self) -> int:
        """Columns of the score without the constant and the hospitals."""
        return sum(covariate.score_columns for covariate in self.in_score)

    @property
    def score_places(self) -> tuple[int, ...]:
        """Which shared columns are in the score."""
        places: list[int] = []
        start = 0
        for covariate in self.in_score:
            width = len(covariate.labels)
            places += range(start + width - covariate.score_columns, start + width)
            start += width
        return tuple(places)

    @property
    def level_places(self) -> tuple[int, ...]:
        """Which shared columns are levels, 0 or 1."""
        flags = [bool(covariate.levels) for covariate in self.all_covariates for _ in covariate.labels]
        return tuple(place for place, flag in enumerate(flags) if flag)

    @property
    def codes(self) -> tuple[int, ...]:
        """How many codes the variable of each shared column has."""
        return tuple(
            len(covariate.codes or ()) for covariate in self.all_covariates for _ in covariate.labels
        )

    @property
    def bins(self) -> int:
        """Times 0 to tau, both included; whoever is followed further leaves in the last one."""
        return self.tau + 1

    @property
    def extreme_odds(self) -> float:
        """The log odds of the largest score that is not extreme."""
        return math.log((1 - self.truncation) / self.truncation)

    @property
    def weight_bits(self) -> int:
        """Every weight lies below 2^weight_bits, public from the parameters."""
        return {
            "iptw": math.ceil(math.log2(1 / self.truncation) + 1e-9),
            "overlap": 1,
            "strata": LARGEST_STRATUM_WEIGHT_BITS,
            "none": 1,
        }[self.weights]


LARGEST_STRATUM_WEIGHT_BITS = 10
"""An arm with less than one person in 2^10 of a stratum's has no overlap there."""
