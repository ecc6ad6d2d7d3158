"""The verbs of `tessera try` that describe and model columns: table one, correlation, linear and logistic regression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpc_backend.try_ import correlation as correlations
from mpc_backend.try_ import regression as models
from mpc_backend.try_ import table_one as tables
from mpc_backend.try_.data import listed, read_csv
from mpc_backend.try_.options import AsJson, File, ProtocolName, Release, Site, say
from mpc_backend.try_.running import Setting

Covariates = Annotated[str, typer.Option(help="Columns it is modelled by: age,sex; texts become indicators.")]


def add_statistics(app: typer.Typer) -> None:
    """Give the commands of this file to the application."""
    for command in (correlation, linear, logistic, table_one):
        app.command(command.__name__.replace("_", "-"))(command)


def correlation(
    file: File,
    columns: Annotated[str, typer.Option(help="Columns of numbers: age,weight")],
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Means, variances and correlations of columns of numbers."""
    choice = correlations.CorrelationChoice(listed(columns), site)
    done = correlations.correlation(read_csv(file), choice, Setting(protocol, release))
    say(done, correlations, as_json)


def table_one(
    file: File,
    by: Annotated[str, typer.Option(help="Column whose values are the groups.")],
    columns: Annotated[str, typer.Option(help="Columns that are described: age,sex")],
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Columns by group: means, quartiles, shares, missing values, standardised differences."""
    choice = tables.TableOneChoice(by, listed(columns), site)
    say(tables.table_one(read_csv(file), choice, Setting(protocol, release)), tables, as_json)


def linear(
    file: File,
    outcome: Annotated[str, typer.Option(help="Column of numbers.")],
    covariates: Covariates,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Least squares regression of a number: coefficients, errors, R squared."""
    _model("linear", file, outcome, covariates, site, Setting(protocol, release), as_json)


def logistic(
    file: File,
    outcome: Annotated[str, typer.Option(help="Column of 0 and 1.")],
    covariates: Covariates,
    site: Site = None,
    release: Release = "k=10",
    protocol: ProtocolName = "rep4",
    as_json: AsJson = False,
) -> None:
    """Logistic regression of an outcome: log odds, errors, likelihood ratio."""
    _model("logistic", file, outcome, covariates, site, Setting(protocol, release), as_json)


def _model(
    kind: models.Kind,
    file: Path,
    outcome: str,
    covariates: str,
    site: str | None,
    setting: Setting,
    as_json: bool,
) -> None:
    choice = models.RegressionChoice(kind, outcome, listed(covariates), site)
    say(models.regression(read_csv(file), choice, setting), models, as_json)
