"""`tessera try correlation`: means, variances and correlations of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mpc_backend.analyses.correlation_parameters import MOST_VARIABLES
from mpc_backend.analyses.correlation_result import CorrelationResult, Pair
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.grid import column
from mpc_backend.analyses.registry import analysis, parse_parameters
from mpc_backend.try_.data import by_site
from mpc_backend.try_.declare import codes_of, place_and_spread
from mpc_backend.try_.output import TAIL, Output, OutputPart, cell_words, number
from mpc_backend.try_.running import Answer, Setting, answer


@dataclass(frozen=True)
class CorrelationChoice:
    """The options of the command."""

    columns: tuple[str, ...]
    site: str | None


class VariableOutput(OutputPart):
    """One column; null where nothing may or can be said."""

    name: str
    mean: float | None
    sd: float | None
    variance: float | None


class PairOutput(OutputPart):
    """Two columns: Pearson's correlation with Fisher's interval, and the test that it is zero."""

    x: str
    y: str
    covariance: float | None
    pearson: float | None
    lower: float | None
    upper: float | None
    p: float | None


class CorrelationOutput(Output):
    """What `tessera try correlation --json` prints."""

    n: int | None
    variables: list[VariableOutput]
    pairs: list[PairOutput]
    why_not: str | None


def correlation(frame: pd.DataFrame, choice: CorrelationChoice, setting: Setting) -> Answer:
    """Run the analysis; persons with a missing value in any column do not count."""
    if not 1 <= len(choice.columns) <= MOST_VARIABLES:
        raise ParametersRefused(f"--columns names 1 to {MOST_VARIABLES} columns, found {len(choice.columns)}")
    names = {f"variable{place}": source for place, source in enumerate(choice.columns)}
    declared = []
    for name, source in names.items():
        centre, scale = place_and_spread(frame, source)
        codes = codes_of(frame, source, choice.site, choice.columns)
        declared.append({"variable": name, "centre": centre, "scale": scale, "codes": codes})
    ready = pd.DataFrame({name: column(frame, source) for name, source in names.items()})
    typed = parse_parameters("correlation", {"variables": declared})
    done = answer(analysis("correlation"), typed, setting, by_site(ready, frame, choice.site), names=names)
    assert isinstance(done.result, CorrelationResult)
    variables = [each.model_copy(update={"name": names[each.name]}) for each in done.result.variables]
    pairs = [
        pair.model_copy(update={"first": names[pair.first], "second": names[pair.second]})
        for pair in done.result.pairs
    ]
    result = done.result.model_copy(update={"variables": variables, "pairs": pairs})
    return Answer(result, done.protocol, done.seconds)


def as_json(result: CorrelationResult) -> dict[str, Any]:
    """The JSON form (docs/schemas/try-correlation.json), without what every object ends with."""
    output = CorrelationOutput(
        n=number(result.n),
        variables=[VariableOutput.model_validate(each.model_dump()) for each in result.variables],
        pairs=[_pair(pair) for pair in result.pairs],
        why_not=result.why_not,
    )
    return output.model_dump(exclude=set(TAIL))


def _pair(pair: Pair) -> PairOutput:
    rest = pair.model_dump(exclude={"first", "second"})
    return PairOutput.model_validate({"x": pair.first, "y": pair.second, **rest})


def in_words(result: CorrelationResult) -> list[str]:
    """One line a column, then one a pair."""
    size = cell_words(result.n)
    lines = [f"persons {size}"]
    for each in result.variables:
        said = (
            f"no number ({result.why_not})"
            if each.mean is None
            else f"mean {each.mean:.5g}, SD {each.sd:.4g}"
        )
        lines.append(f"{each.name:<24} {said}")
    for pair in result.pairs:
        if pair.pearson is None:
            why = result.why_not or "one of them does not vary"
            lines.append(f"{pair.first} with {pair.second}: no number ({why})")
            continue
        limits = (
            "" if pair.lower is None or pair.upper is None else f" ({pair.lower:.3g} to {pair.upper:.3g})"
        )
        p = "" if pair.p is None else f", p {pair.p:.3g}"
        lines.append(f"{pair.first} with {pair.second}: r {pair.pearson:.3g}{limits}{p}")
    return lines
