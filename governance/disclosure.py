"""What may be shown: the disclosure policy a study is signed with. It is applied inside MPC, before anything
is opened."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from governance.document import Part

SMALLEST_MINIMUM_CELL = 5
SMALLEST_OPEN_ROUNDING = 5
"""Least rounding where a run chooses its own cohort: subtracting two counts must not give a number of persons
below the smallest cell exactly. Enforced by the study."""


class DisclosurePolicy(Part):
    """Numbers below ``minimum_cell`` are withheld, others rounded to a multiple of ``rounding``.

    ``allow_true_zero``: a count of exactly zero may be shown as zero (else it counts as small and is withheld).
    ``minimum_sites``: fewer contributing hospitals than this, and nothing is computed.
    ``release`` ``exact`` switches thresholds and rounding off; only a study on synthetic data may ask for it.
    """

    minimum_cell: Annotated[int, Field(ge=0, le=10_000)] = 10
    rounding: Annotated[int, Field(ge=1, le=10_000)] = 10
    allow_true_zero: bool = False
    minimum_sites: Annotated[int, Field(ge=1, le=1_000)] = 3
    release: Literal["thresholded", "exact"] = "thresholded"

    @model_validator(mode="after")
    def _floor(self) -> Self:
        if self.release == "thresholded" and self.minimum_cell < SMALLEST_MINIMUM_CELL:
            raise ValueError(
                f"minimum_cell {self.minimum_cell} is below {SMALLEST_MINIMUM_CELL}, the smallest any "
                f"release may use"
            )
        return self

    def footnote(self) -> str:
        """One sentence for the foot of every result."""
        if self.release == "exact":
            return "Exact numbers: the study declares its data synthetic."
        zero = " A true zero is shown." if self.allow_true_zero else ""
        rounded = (
            f"others are rounded to multiples of {self.rounding}" if self.rounding > 1 else "others are exact"
        )
        return f"Numbers below {self.minimum_cell} are withheld; {rounded}.{zero}"
