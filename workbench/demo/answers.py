"""The three answers as text for a terminal, each beside the pooled cleartext answer and the truth behind the data."""

from __future__ import annotations

from collections.abc import Sequence

from mpc_backend.analyses.cells import Cell, ReleasedCount
from mpc_backend.analyses.cohort_count import CountResult
from mpc_backend.analyses.ranking_result import RankingResult
from mpc_backend.analyses.survival_result import Curve, SurvivalResult
from workbench.demo.earlier import TOO_CLOSE
from workbench.demo.judge import Check
from workbench.demo.similar import Similar
from workbench.demo.truth import Comparison

TREATMENTS_SHOWN = 6


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns: the first to the left, the others to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        parts = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  " + "  ".join(parts).rstrip())
    return [lines[0], "  " + "-" * (len(lines[0]) - 2), *lines[1:]]


def verdict(checks: Sequence[Check]) -> list[str]:
    """How many comparisons with the pooled answer agree, the tolerances, and each that does not."""
    wrong = [check for check in checks if not check.agrees]
    tolerances = {check.tolerance for check in checks if check.tolerance is not None}
    within = f"; numbers within {min(tolerances):.1g} to {max(tolerances):.1g}" if tolerances else ""
    lines = [
        f"  {len(checks) - len(wrong)} of {len(checks)} comparisons with the pooled cleartext answer agree "
        f"(what is shown and every count: equal{within})."
    ]
    return lines + [f"  DIFFERS  {check}" for check in wrong]


def _count(cell: Cell) -> str:
    return f"{cell.value:,}" if isinstance(cell, ReleasedCount) else cell.state


def count_lines(result: CountResult, pooled: Sequence[int]) -> list[str]:
    """The attrition; ``pooled``: the exact population and persons left after each step."""
    named = [("everybody", result.population), *((step.label, step.count) for step in result.steps)]
    rows = [(label, _count(cell), f"{exact:,}") for (label, cell), exact in zip(named, pooled, strict=True)]
    return [*table(("step", "released", "pooled"), rows), f"  {result.release}"]


def survival_lines(result: SurvivalResult, pooled: Comparison) -> list[str]:
    """Restricted means adjusted and crude, the at-risk table, and the test."""
    means = [
        (
            arm.arm,
            _count(arm.n),
            _count(arm.events),
            _mean(arm.curve),
            f"{pooled.adjusted[number].mean:.2f}",
            f"{pooled.causal_mean[number]:.2f}",
            "hidden" if arm.crude is None else _mean(arm.crude),
        )
        for number, arm in enumerate(result.arms)
    ]
    head = (
        "months free of the outcome, of 24",
        "persons",
        "events",
        "adjusted (SE)",
        "pooled",
        "truth",
        "crude (SE)",
    )
    risk = [(arm.arm, *(_count(row.at_risk) for row in arm.table)) for arm in result.arms]
    months = [f"month {row.time}" for row in result.arms[0].table]
    lines = [*table(head, means), "", *table(("at risk", *months), risk)]
    for contrast in result.rmst_contrasts:
        lines.append(
            f"  {contrast.arm} against {contrast.reference}, adjusted: {contrast.difference:+.2f} months "
            f"(95 % interval {contrast.lower:+.2f} to {contrast.upper:+.2f})."
        )
    for test in (result.log_rank, result.stratified_log_rank):
        if test is not None:
            name = f"Log-rank stratified by {test.stratified_by}"
            lines.append(f"  {name}: chi-square {test.chi2:.3f} on {test.df} df, p = {test.p:.2g}.")
    return lines


def _mean(curve: Curve) -> str:
    if curve.rmst is None:
        return curve.why_not or "hidden"
    return f"{curve.rmst.estimate:.2f} ({curve.rmst.se:.3f})"


def ranking_lines(result: RankingResult, similar: Similar, facts: dict[str, object]) -> list[str]:
    """The tier, the best treatments with intervals, and what the pooled data and the truth say of them."""
    _, members = similar.first_tier(facts)
    pooled = {f"regimen {arm + 1:03d}": truth for arm, truth in similar.arms(members).items()}
    if result.tier is None:
        return [f"  {note}" for note in result.notes]
    low, high = result.total or (0, 0)
    among = f"{low:,} to {high:,}" if result.total else "an undisclosed number of"
    relaxed = f" ({'; '.join(result.relaxed)})" if result.relaxed else ""
    missing = (
        f" Not matched on, being unknown: {', '.join(result.not_matched_on)}."
        if result.not_matched_on
        else ""
    )
    rows = [
        (
            arm.treatment,
            f"{arm.size[0]} to {arm.size[1]}",
            f"{arm.estimate:.1f}",
            f"{arm.lower:.1f} to {arm.upper:.1f}",
            f"{pooled[arm.treatment].mean:.2f}",
            f"{pooled[arm.treatment].causal:.2f}",
            f"{pooled[arm.treatment].crude:.2f}",
            "yes" if arm.cannot_be_ruled_out else "no",
        )
        for arm in result.arms[:TREATMENTS_SHOWN]
    ]
    head = ("treatment", "patients", "months", "95 % interval", "pooled", "truth", "crude", "may be best")
    more, count = len(result.arms) - len(rows), result.hidden_count
    hidden = "1 treatment is not shown" if count == 1 else f"{count} treatments are not shown"
    close = sum(arm.reason.startswith(TOO_CLOSE) for arm in result.hidden)
    hidden += f", {close} of them because the answer is {TOO_CLOSE}" if close else ""
    return [
        f"  Among {among} comparable patients, tier {result.tier!r}{relaxed}.{missing}",
        *table(head, rows),
        *([f"  and {more} more treatment{'' if more == 1 else 's'}"] if more else []),
        f"  {result.verdict[:1].upper() + result.verdict[1:]}; {hidden}.",
        *(f"  {line}" for line in (result.balance.in_words() if result.balance else [])),
    ]
