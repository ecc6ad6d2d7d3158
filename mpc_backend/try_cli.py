"""`tessera try`: each analysis on one CSV file, every node in this process."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.try_ import compare as comparing
from mpc_backend.try_ import competing_risks as competing
from mpc_backend.try_ import count as counting
from mpc_backend.try_ import ranking as ranks
from mpc_backend.try_ import survival as curves
from mpc_backend.try_.data import listed, read_csv
from mpc_backend.try_.options import AsJson, File, ProtocolName, Release, Site, say
from mpc_backend.try_.ranking_balance import balance_of
from mpc_backend.try_.running import Setting
from mpc_backend.try_.statistics_cli import add_statistics

try_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run an analysis on one CSV file, all nodes in this process.",
)
add_statistics(try_app)

TimeUnit = Literal["day", "week", "month", "quarter", "year"]
TimeColumn = Annotated[
    str, typer.Option("--time", help="Column of whole times to the event or to censoring.")
]
EventColumn = Annotated[str, typer.Option("--event", help="Column of 0 (censored) and 1 (event).")]
StrataColumns = Annotated[
    str | None, typer.Option("--strata", help="Columns of strata, separated by commas.")
]
FileUnit = Annotated[TimeUnit, typer.Option("--unit", help="What the file's times count.")]
Grid = Annotated[TimeUnit | None, typer.Option(help="Coarser grid, by ceiling; tau and times count it.")]


@try_app.command()
def count(
    file: File,
    where: Annotated[str, typer.Option(help="Condition over the columns: age >= 60 and sex == 'f'")],
    then: Annotated[list[str] | None, typer.Option(help="Further conditions, one by one.")] = None,
    person: Annotated[str | None, typer.Option(help="Column of person ids; else a row is a person.")] = None,
    link: Annotated[
        str | None,
        typer.Option(help="Columns that say who somebody is at any hospital: counted once. ID or A,B,C"),
    ] = None,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """How many persons are left after each condition."""
    frame = read_csv(file)
    setting = Setting(protocol, release)
    done = counting.count(frame, [where, *(then or [])], setting, site, person, listed(link))
    say(done, counting, as_json)


@try_app.command()
def survival(
    file: File,
    time: TimeColumn,
    event: EventColumn,
    arm: Annotated[str, typer.Option(help="Column whose values are compared.")],
    strata: StrataColumns = None,
    times: Annotated[str | None, typer.Option(help="Times of the at-risk table: 90,365")] = None,
    tau: Annotated[int | None, typer.Option(min=1, help="Restricted mean up to here.")] = None,
    rho: Annotated[float, typer.Option(min=0, max=5, help="Weight of an extra G^rho test.")] = 0.0,
    covariates: Annotated[str | None, typer.Option(help="Columns of a Cox regression: age,sex")] = None,
    ties: Annotated[Literal["efron", "breslow"], typer.Option(help="Ties of the Cox regression.")] = "efron",
    cluster: Annotated[str | None, typer.Option(help="Column of person ids, for robust errors.")] = None,
    link: Annotated[
        str | None, typer.Option(help="Columns that say who somebody is at any hospital. ID or A,B,C")
    ] = None,
    index_day: Annotated[
        str | None, typer.Option(help="With --link: column of the day on which time starts.")
    ] = None,
    unit: FileUnit = "day",
    grid: Grid = None,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Kaplan-Meier by arm with at-risk table, median, restricted mean and log-rank tests; Cox regression."""
    choice = curves.SurvivalChoice(
        time, event, arm, listed(strata), _whole(times), tau, rho, unit, grid or unit, site,
        listed(covariates), ties, cluster, listed(link), index_day,
    )  # fmt: skip
    say(curves.survival(read_csv(file), choice, Setting(protocol, release)), curves, as_json)


@try_app.command()
def compare(
    file: File,
    arm: Annotated[
        str, typer.Option(help="Column of the two treatments; the first in order is the comparator.")
    ],
    time: TimeColumn,
    event: EventColumn,
    tau: Annotated[int, typer.Option(min=1, help="Restricted mean up to, and risk at, here.")],
    covariates: Annotated[str | None, typer.Option(help="Columns of the propensity score: age,sex")] = None,
    weights: Annotated[
        str, typer.Option(help="iptw, overlap or strata; none with --allow-crude.")
    ] = "overlap",
    balance: Annotated[str | None, typer.Option(help="Further columns whose balance is shown.")] = None,
    year: Annotated[str | None, typer.Option(help="Column of the index year, for the score.")] = None,
    truncation: Annotated[
        float, typer.Option(help="Scores beyond it count as extreme; iptw cuts them.")
    ] = 0.01,
    negative_control: Annotated[
        str | None, typer.Option(help="Columns of time and event that no treatment can cause: T2,E2")
    ] = None,
    allow_crude: Annotated[bool, typer.Option("--allow-crude", help="Accept --weights none.")] = False,
    unit: FileUnit = "day",
    grid: Grid = None,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Two treatments under propensity score weights: restricted means and risks, balance, positivity, E-value."""
    choice = comparing.CompareChoice(
        time, event, arm, listed(covariates), listed(balance), year, weights, truncation, allow_crude,
        listed(negative_control), tau, unit, grid or unit, site,
    )  # fmt: skip
    say(comparing.compare(read_csv(file), choice, Setting(protocol, release)), comparing, as_json)


@try_app.command("competing-risks")
def competing_risks(
    file: File,
    time: TimeColumn,
    event: Annotated[str, typer.Option(help="Column of 0 (censored) and 1 to 6 (causes).")],
    arm: Annotated[str, typer.Option(help="Column whose values are compared.")],
    times: Annotated[str | None, typer.Option(help="Times of the at-risk table: 90,365")] = None,
    tau: Annotated[int | None, typer.Option(min=1, help="Risk at, and time lost up to, here.")] = None,
    unit: FileUnit = "day",
    grid: Grid = None,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Cumulative incidence of each cause by arm, risk and time lost at tau, cause-specific log-rank tests."""
    choice = competing.CompetingChoice(time, event, arm, _whole(times), tau, unit, grid or unit, site)
    say(competing.competing_risks(read_csv(file), choice, Setting(protocol, release)), competing, as_json)


@try_app.command()
def ranking(
    file: File,
    treatment: Annotated[str, typer.Option(help="Column of treatments.")],
    time: TimeColumn,
    event: EventColumn,
    patient: Annotated[str, typer.Option(help="The patient's facts by column, as JSON or @FILE.")],
    tau: Annotated[int, typer.Option(min=1, help="Restricted mean up to here.")],
    match: Annotated[str | None, typer.Option(help="Columns that must agree: sex,stage")] = None,
    caliper: Annotated[str | None, typer.Option(help="Age column and years: age=5")] = None,
    markers: Annotated[str | None, typer.Option(help="Columns of 0/1 markers: m1,m2")] = None,
    max_distance: Annotated[int, typer.Option(min=0, help="Markers that may differ.")] = 0,
    harm: Annotated[
        str | None, typer.Option(help="Column of 0 and 1: a harm shown beside the outcome.")
    ] = None,
    harm_time: Annotated[str | None, typer.Option(help="Its times; without it those of --time.")] = None,
    negative_control: Annotated[
        str | None, typer.Option(help="Columns of time and event that no treatment can cause: T2,E2")
    ] = None,
    strata: StrataColumns = None,
    balance: Annotated[
        str | None,
        typer.Option(help="Columns judged for balance, in bands with =: stage,age=10; none. As matched on."),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="neighbours; or cells: bands of --caliper and --max-distance, --match.")
    ] = "neighbours",
    unit: FileUnit = "day",
    grid: Grid = None,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Treatments of patients like this one, by standardised restricted mean time to failure."""
    choice = ranks.RankingChoice(
        treatment, time, event, listed(match), ranks.caliper_of(caliper), listed(markers), max_distance,
        ranks.patient_of(patient), tau, listed(strata), unit, grid or unit, site,
        ranks.harm_of(harm, harm_time, time), mode, balance_of(balance),
        ranks.control_of(negative_control),
    )  # fmt: skip
    say(ranks.ranking(read_csv(file), choice, Setting(protocol, release)), ranks, as_json)


def _whole(text: str | None) -> tuple[int, ...]:
    parts = listed(text)
    if not all(part.isdigit() for part in parts):
        raise ParametersRefused(f"--times takes whole numbers separated by commas, found {text}")
    return tuple(sorted(int(part) for part in parts))
