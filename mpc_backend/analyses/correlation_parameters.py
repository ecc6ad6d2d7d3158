"""What a signed study fixes about means, variances and correlations."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field, model_validator

from mpc_backend.analyses.base import Parameters
from mpc_backend.analyses.coded import Coded, uncounted
from mpc_backend.analyses.regression_parameters import Finite, Positive

MOST_VARIABLES = 16


class Measured(Coded):
    """A number with a public guess at its mean, right to four scales, and at its standard deviation, to a factor of four."""

    centre: Finite
    scale: Positive


class CorrelationParameters(Parameters):
    """Parameters of ``correlation``. Persons with a missing value in any of the ``variables`` do not count."""

    variables: Annotated[tuple[Measured, ...], Field(min_length=1, max_length=MOST_VARIABLES)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95

    @model_validator(mode="after")
    def _distinct(self) -> CorrelationParameters:
        if len(set(self.covariates)) != len(self.covariates):
            raise ValueError("variables: each may be named once")
        return self

    @property
    def covariates(self) -> tuple[str, ...]:
        """Every variable it reads."""
        return tuple(each.variable for each in self.variables)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Numbers without codes."""
        return uncounted(self.variables)

    @property
    def code_cells(self) -> int:
        """Codes of which persons are counted, those of each variable and then of each two together."""
        sizes = [len(each.codes or ()) for each in self.variables]
        return sum(sizes) + sum(one * other for one, other in itertools.combinations(sizes, 2))
