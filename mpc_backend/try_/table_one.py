"""`tessera try table-one`: columns described by group."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.grid import column, numbers
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.analyses.table_one_parameters import MOST_BINS, MOST_LEVELS
from mpc_backend.analyses.table_one_result import CategoryRow, Counted, Described, NumberRow, TableOneResult
from mpc_backend.try_.data import by_site, levels
from mpc_backend.try_.declare import FEW_VALUES, codes_of, place_and_spread
from mpc_backend.try_.output import TAIL, Output, OutputPart, cell_words, number
from mpc_backend.try_.running import Answer, Setting, answer

GROUP = "group_of"
MOST_GROUPS = 12
FINEST_DECIMALS = 9
BELOW_A_STEP = 1e-6
"""Parts of a step that are a rounding error."""


@dataclass(frozen=True)
class TableOneChoice:
    """The options of the command."""

    by: str
    columns: tuple[str, ...]
    site: str | None


class GroupOutput(OutputPart):
    """Persons of a group."""

    group: str
    n: int | None


class LevelOutput(OutputPart):
    """Persons at a level, and their share of those whose level is known."""

    level: str
    count: int | None
    share: float | None


class VariableGroupOutput(OutputPart):
    """A column in one group: numbers have moments and quartiles, others levels."""

    group: str
    missing: int | None
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    q1: float | None = None
    q3: float | None = None
    levels: list[LevelOutput] | None = None
    why_not: str | None = None


class DifferenceOutput(OutputPart):
    """Standardised difference of a group against the reference; without sign for levels."""

    group: str
    reference: str
    smd: float | None


class VariableOutput(OutputPart):
    """One column."""

    name: str
    kind: Literal["number", "category"]
    groups: list[VariableGroupOutput]
    smd: list[DifferenceOutput]


class TableOneOutput(Output):
    """What `tessera try table-one --json` prints."""

    by: str
    groups: list[GroupOutput]
    variables: list[VariableOutput]


def table_one(frame: pd.DataFrame, choice: TableOneChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing group do not count."""
    if not choice.columns:
        raise ParametersRefused("--columns names at least one column")
    if choice.by in choice.columns:
        raise ParametersRefused(f"column {choice.by} gives the groups; leave it out of --columns")
    ready, names = pd.DataFrame({GROUP: column(frame, choice.by)}), {}
    described: dict[str, list[dict[str, Any]]] = {"numbers": [], "categories": []}
    grouped = frame[column(frame, choice.by).notna()]
    for place, source in enumerate(choice.columns):
        name = f"column{place}"
        ready[name], names[name] = column(frame, source), source
        if pd.api.types.is_numeric_dtype(ready[name].dtype) and ready[name].nunique() > FEW_VALUES:
            described["numbers"].append(
                {
                    **quantity(frame, source, name),
                    "codes": codes_of(grouped, source, choice.site, by=choice.by),
                }
            )
        else:
            described["categories"].append(
                {"variable": name, "levels": list(levels(frame, source, MOST_LEVELS))}
            )
    groups = list(levels(frame, choice.by, MOST_GROUPS))
    typed = parse_parameters("table_one", {"by": GROUP, "groups": groups, **described})
    names[GROUP] = choice.by
    done = answer(analysis("table_one"), typed, setting, by_site(ready, frame, choice.site), names=names)
    assert isinstance(done.result, TableOneResult)
    return Answer(_named(done.result, names), done.protocol, done.seconds)


def quantity(frame: pd.DataFrame, source: str, name: str) -> dict[str, Any]:
    """A number as a study would declare it: its grid has every value of the file, or as many steps as there may be.

    The grid ends a quarter of a step beyond its last value, which a rounding error would else put outside.
    """
    values = numbers(frame, source)
    known = values[~np.isnan(values)]
    low, high = float(known.min()), float(known.max())
    centre, scale = place_and_spread(frame, source)
    step = _step(known, high - low)
    top = low + step * (max(1, math.ceil((high - low) / step - BELOW_A_STEP)) + 0.25)
    return {"variable": name, "centre": centre, "scale": scale, "low": low, "high": top, "step": step}


def _step(known: np.ndarray[Any, np.dtype[np.float64]], width: float) -> float:
    """The power of ten of which all values are multiples, if the grid then fits; else as many steps as there may be."""
    for decimals in range(FINEST_DECIMALS + 1):
        step = 10.0**-decimals
        if width / step + 1 > MOST_BINS:
            break
        if np.allclose(np.rint(known / step) * step, known, rtol=1e-9, atol=0):
            return step
    return width / (MOST_BINS - 1) if width > 0 else 1.0


def _named(result: TableOneResult, names: dict[str, str]) -> TableOneResult:
    """The result with the file's own names, in suppressed too."""
    numbers_ = [each.model_copy(update={"variable": names[each.variable]}) for each in result.numbers]
    kinds = [each.model_copy(update={"variable": names[each.variable]}) for each in result.categories]
    withheld = []
    for each in result.suppressed:
        what = each.what
        for name in sorted(names, key=len, reverse=True):
            what = what.replace(name, names[name])
        withheld.append(each.model_copy(update={"what": what}))
    update = {"numbers": numbers_, "categories": kinds, "by": names[result.by], "suppressed": withheld}
    return result.model_copy(update=update)


def as_json(result: TableOneResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-table-one.json), without what every object ends with."""
    output = TableOneOutput(
        by=result.by,
        groups=[GroupOutput(group=each.group, n=number(each.n)) for each in result.groups],
        variables=[*map(_variable, result.numbers), *map(_variable, result.categories)],
    )
    return output.model_dump(exclude=set(TAIL))


def _variable(row: NumberRow | CategoryRow) -> VariableOutput:
    return VariableOutput(
        name=row.variable,
        kind="number" if isinstance(row, NumberRow) else "category",
        groups=[_in_group(each) for each in row.groups],
        smd=[
            DifferenceOutput(group=each.group, reference=each.reference, smd=each.smd)
            for each in row.differences
        ],
    )


def _in_group(each: Described | Counted) -> VariableGroupOutput:
    missing = number(each.missing)
    if isinstance(each, Described):
        return VariableGroupOutput(
            group=each.group, missing=missing, mean=each.mean, sd=each.sd, median=each.median, q1=each.q1, q3=each.q3,
            why_not=each.why_not,
        )  # fmt: skip
    counts = [
        LevelOutput(level=level.level, count=number(level.count), share=level.share) for level in each.levels
    ]
    return VariableGroupOutput(group=each.group, missing=missing, levels=counts)


def in_words(result: TableOneResult) -> list[str]:
    """One line a column and group, with its difference against the first."""
    lines = [f"{result.by}: " + ", ".join(f"{each.group} {cell_words(each.n)}" for each in result.groups)]
    for row in result.numbers:
        for each in row.groups:
            lines.append(
                f"{row.variable:<20} {each.group:<12} {_number_words(each)}{_against(row, each.group)}"
            )
    for kinds in result.categories:
        for part in kinds.groups:
            shown = ", ".join(
                f"{level.level} {cell_words(level.count)}"
                + ("" if level.share is None else f" ({level.share:.1%})")
                for level in part.levels
            )
            missing = f"missing {cell_words(part.missing)}{_against(kinds, part.group)}"
            lines.append(f"{kinds.variable:<20} {part.group:<12} {shown}, {missing}")
    return lines


def _number_words(each: Described) -> str:
    if each.mean is None or each.sd is None:
        return f"no number ({each.why_not})"
    quarters = "" if each.median is None else f", median {each.median:g} ({each.q1:g} to {each.q3:g})"
    return f"mean {each.mean:.4g} (SD {each.sd:.3g}){quarters}, missing {cell_words(each.missing)}"


def _against(row: NumberRow | CategoryRow, group: str) -> str:
    for each in row.differences:
        if each.group == group and each.smd is not None:
            return f", standardised difference {each.smd:.3f}"
    return ""
