"""A study's treatment ranking in plain sentences: who counts as similar, and what stands beside the outcome."""

from __future__ import annotations

from mpc_backend.analyses.ranking_parameters import RankingParameters
from site_connector.plain import literal


def ranking_words(said: RankingParameters, on: str) -> str:
    """What a ranking tells, up to what it is adjusted for; ``on``: its cohort, " in ...", or nothing."""
    similar = (
        f"among similar patients{on}, matched"
        if said.cells is None
        else f"among patients of the same cell{on} ({_cells(said)}), united"
    )
    beside = f", and beside it the mean time without {_readable(said.harm)}" if said.harm else ""
    if said.negative_control:
        beside += f", and as a negative control, which no treatment should change, {_readable(said.negative_control)}"
    return (
        f"for one patient whose facts stay secret, the mean time without {_readable(said.outcome)} over {said.tau} "
        f"{said.unit}s on {len(said.treatments)} treatments, {similar} from “{literal(said.ladder[0].name)}” to "
        f"“{literal(said.ladder[-1].name)}”{beside}"
    )


def _cells(said: RankingParameters) -> str:
    """What declared cells cross, and how often their answers are computed."""
    assert said.cells is not None
    sides = [f"age cut at {_listed(said.cells.age_cuts)}"] if said.cells.age_cuts else []
    sides += [_readable(category.variable) for category in said.equal]
    sides += [
        f"number of {_readable(group.name)} present of {len(group.markers)}, cut at {_listed(group.cuts)}"
        for group in said.cells.marker_groups
    ]
    return f"{literal('; '.join(sides))}; the answers of all cells are computed once for each set of uploads"


def balance_words(said: RankingParameters) -> str:
    """Which covariates are judged for balance, to end the sentence with; nothing where the study names none."""
    names = ", ".join(_readable(covariate.variable) for covariate in said.balance)
    return (
        f"; where {names} are out of balance between two treatments, neither rules the other out"
        if names
        else ""
    )


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _readable(name: str) -> str:
    return name.replace("_", " ")
