"""What is shared, column by column: the public shape of every table that a site or a physician's client uploads.

A schema is public: it follows from the signed study alone, never from data. Values are shared column by column in the
ring Z_2^ring (kind ``int`` and ``fixed``) or as bits (kind ``bit``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

SMALLEST_BUCKET = 1024

type_name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

Array = NDArray[np.int64] | NDArray[np.float64]
Arrays = dict[str, Array]
"""Plaintext columns by name: (rows,) or (rows, width) arrays; int64 for ``int`` and ``bit``, float64 for ``fixed``."""


class Column(BaseModel):
    """One shared column.

    ``bits`` is the declared signed width: every value lies in [-2^(bits-1), 2^(bits-1)); kind ``bit`` holds 0 or 1 and is
    shared over XOR. ``ring`` is the modulus 2^ring in which additive shares live (a count over at most 65,535 rows fits
    ring 16). ``scale`` is the number of fractional bits of kind ``fixed``. ``width`` > 1 makes each row a vector.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: type_name
    kind: Literal["bit", "int", "fixed"]
    bits: Annotated[int, Field(ge=1, le=64)] = 1
    ring: Literal[16, 32, 64] = 64
    scale: Annotated[int, Field(ge=0, le=40)] = 0
    width: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if self.bits > self.ring:
            raise ValueError(f"column {self.name}: {self.bits} bits do not fit a ring of {self.ring}")
        if (self.kind == "fixed") != (self.scale > 0):
            raise ValueError(f"column {self.name}: scale goes with kind 'fixed' and with no other")
        return self


class TableSpec(BaseModel):
    """One shared table.

    ``aggregate``: ``rows`` is fixed by the study (for example one row per criterion), every site uploads exactly that many.
    ``rows``: one row per person; a site pads with all-zero rows to `bucket`, and the analysis declares a column ``valid``.
    ``query``: brought by the requester of one run, ``rows`` fixed by the study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: type_name
    level: Literal["aggregate", "rows", "query"]
    columns: tuple[Column, ...]
    rows: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TableSpec:
        if (self.level == "rows") != (self.rows is None):
            raise ValueError(f"table {self.name}: a fixed number of rows goes with every level but 'rows'")
        if self.level == "rows" and "valid" not in {column.name for column in self.columns}:
            raise ValueError(f"table {self.name}: a table of persons needs a column 'valid' to hide padding")
        return self


def bucket(rows: int) -> int:
    """The padded length of a table of persons: the next power of 2^(1/4), at least 1,024, so that nodes learn only a band."""
    size = SMALLEST_BUCKET
    step = 0
    while size < rows:
        step += 1
        size = round(SMALLEST_BUCKET * 2 ** (step / 4))
    return size
