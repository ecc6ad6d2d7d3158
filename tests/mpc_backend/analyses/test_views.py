"""What nodes see of every analysis in every mode: the same messages whatever the data, and views that are uniform.

Data are zeros, and words drawn over the whole declared width of each column, which no hospital could share: messages may
not even depend on data that make no sense. Above a protocol the code is one and the same, so that the operations it asks
for, with their shapes, must be equal under all of them too. What has many rounds runs once under each protocol, on different
data, and is compared by these; that a protocol sends the same messages for each of them whatever the data is looked at in
`test_privacy.py`.
"""

import functools
import logging
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import ranking_data as ranking
from pydantic import BaseModel

from governance.disclosure import DisclosurePolicy
from mpc_backend.analyses import comparative_weights
from mpc_backend.analyses.base import Released
from mpc_backend.analyses.comparative_parameters import Weights
from mpc_backend.analyses.logistic_newton import COEFFICIENT_SCALE, LogisticFit, fit_logistic
from mpc_backend.analyses.registry import KINDS, analysis, parse_parameters
from mpc_backend.operations import linear
from mpc_backend.session import Session
from mpc_backend.tables import Column
from mpc_backend.testing import World
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.views import LIMIT, Observed, observed, opened_inside, uniform

SITES = ("a", "b")
ROWS = 70
DEAR = 600
"""Rounds of a run, above which one for each protocol has to do."""
NUMBER = {"variable": "x", "centre": 0, "scale": 1}
LEVELS = {"variable": "g", "levels": ["u", "v", "w"]}
SEX = {"variable": "sex", "levels": ["f", "m"]}
CURVES = {"arm": "drug", "arms": ["s", "t"], "time_unit": "month", "horizon": 9, "tau": 8}
COX = {"covariates": [{"variable": "x", "scale": 1}], "iterations": 2}
ROBUST = {
    "cluster": "who",
    "shared_ids": True,
    "ph": False,
    "covariates": [{"variable": "g", "levels": ["u", "v"]}],
}
COMPARED = {
    "outcome": "o", "arm": "drug", "arms": ["s", "t"], "time_unit": "month", "tau": 8, "period": "not available",
    "score": [NUMBER], "hospital": False, "allow_crude": True,
}  # fmt: skip
WIDER = {
    "period": {**NUMBER, "variable": "year"},
    "hospital": True,
    "balance": [LEVELS],
    "negative_control": "p",
}
RANKED = ranking.parameters(2, harm="h", tau=6)
LINKED = [
    *({"how": how} for how in ("entry", "since", "at_entry", "anywhere", "within")),
    {"how": "since", "unless": True},
]

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "cohort_count": {
        "steps": {"steps": [f"s{n}" for n in range(30)]},
        "linked": {"steps": [f"s{n}" for n in range(6)], "linkage": True, "linked": LINKED, "first": True},
    },
    "comparative_effectiveness": {
        **{weights: {**COMPARED, "weights": weights} for weights in get_args(Weights)},
        "none": {**COMPARED, **WIDER, "weights": "none"},
    },
    "competing_risks": {"two causes": {"causes": ["o", "p"], **CURVES}},
    "correlation": {"coded": {"variables": [{**NUMBER, "codes": ["0", "1"]}, {**NUMBER, "variable": "y"}]}},
    "linear": {"coded": {"outcome": "o", "outcome_centre": 0, "outcome_scale": 1, "predictors": [NUMBER, LEVELS]}},
    "logistic": {"levels": {"outcome": "o", "predictors": [NUMBER, LEVELS], "steps": 3}},
    "survival": {
        "strata": {"outcome": "o", **CURVES, "strata": [LEVELS], "rho": 1},
        "efron": {"outcome": "o", **CURVES, "strata": [SEX], "adjust": False, "cox": {**COX, **ROBUST}},
        "breslow": {"outcome": "o", **CURVES, "cox": {**COX, "ties": "breslow"}},
        "linked": {
            "outcome": "o", **CURVES, "strata": [LEVELS], "rho": 1, "linkage": True, "linked": LINKED, "first": True,
            "steps": [f"s{n}" for n in range(6)], "follow_up_days": 700,
        },
    },
    "table_one": {
        "numbers and levels": {
            "by": "drug", "groups": ["s", "t"], "categories": [LEVELS],
            "numbers": [{**NUMBER, "low": -9, "high": 9, "step": 0.5}],
        },
    },
    "treatment_ranking": {
        "neighbours": {**RANKED, "period": "not available"},
        "cells": ranking.cells(2, "first", harm="h", tau=6),
    },
}  # fmt: skip
"""Kind -> mode -> parameters."""


NEVER_COMPUTED = {"unit", "time_unit", "allow_crude"}
"""What hospitals count in, and what a study has to say before it may choose something else."""


def choices(model: type[BaseModel]) -> set[tuple[str, str, object]]:
    """Every value of every field that has a few named ones, in a model and in those it is made of."""
    found = set()
    for name, field in model.model_fields.items():
        pending = [field.annotation]
        while pending:
            kind = pending.pop()
            if kind is bool or get_origin(kind) is Literal:
                values = (False, True) if kind is bool else get_args(kind)
                found |= {(model.__name__, name, value) for value in values}
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= choices(kind)
            pending += get_args(kind) if get_origin(kind) is not Literal else ()
    return {choice for choice in found if choice[1] not in NEVER_COMPUTED}


def chosen_in(value: object) -> set[tuple[str, str, object]]:
    """The values that parameters have."""
    if isinstance(value, tuple):
        return set().union(*map(chosen_in, value))
    if not isinstance(value, BaseModel):
        return set()
    fields = {name: getattr(value, name) for name in type(value).model_fields}
    own = {(type(value).__name__, name, one) for name, one in fields.items() if isinstance(one, str | bool)}
    return own.union(*map(chosen_in, fields.values()))


def test_every_kind_has_a_case_in_every_mode() -> None:
    assert set(CASES) == set(KINDS)
    for kind, modes in CASES.items():
        made = set().union(*(chosen_in(parse_parameters(kind, parameters)) for parameters in modes.values()))
        assert choices(analysis(kind).parameters) <= made, kind


def words(column: Column, rows: int, rng: np.random.Generator | None) -> Any:
    shape = (rows,) if column.width == 1 else (rows, column.width)
    if rng is None:
        return np.zeros(shape, np.float64 if column.kind == "fixed" else np.int64)
    if column.kind == "bit":
        return rng.integers(0, 2, shape)
    half = 1 << (min(column.bits, 62) - 1)
    drawn = rng.integers(-half, half, shape)
    return drawn / 2.0**column.scale if column.kind == "fixed" else drawn


@pytest.fixture
def short_fits(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Iterations are as many as the code says, whatever the data, and all alike: a few are enough; and one fit of a score
    is that of every kind of weights."""
    monkeypatch.setattr(linear.damped_inverse, "__defaults__", (2,))
    fit = functools.partial(fit_logistic, steps=3) if mode == "iptw" else no_fit
    monkeypatch.setattr(comparative_weights, "fit_logistic", fit)


def no_fit(session: Session, design: SecretFixed, outcome: SecretInt) -> LogisticFit:
    """Coefficients of zero, without a message."""
    nothing, found = (design[0] * 0).rescaled(COEFFICIENT_SCALE), session.public(np.zeros((), np.int64), 64)
    usable = SecretBits(design.protocol, found.shares.reshape(-1, 1), ())
    return LogisticFit(nothing, None, design[:, 0], usable)  # type: ignore[arg-type]


def seen(kind: str, mode: str, protocol: str, seed: int | None) -> Observed:
    chosen, typed = analysis(kind), parse_parameters(kind, CASES[kind][mode])
    released = Released(DisclosurePolicy(minimum_sites=2), SITES, SITES[:1])
    rng = None if seed is None else np.random.default_rng(seed)

    def given(world: World) -> list[Any]:
        tables: dict[str, Any] = {}
        for spec in chosen.tables(typed):
            tables[spec.name] = {
                site: {
                    column.name: world.share_column(column, words(column, spec.rows or ROWS, rng))
                    for column in spec.columns
                }
                for site in (SITES if spec.level != "query" else ("query",))
            }
        return [tables]

    return observed(protocol, lambda session, tables: chosen.compute(session, typed, released, tables), given)


@pytest.mark.usefixtures("short_fits")
@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in CASES.items() for mode in modes])
def test_views_are_uniform_and_messages_the_same_whatever_the_data(
    kind: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = seen(kind, mode, "rep3", None)
    runs = [[first], [seen(kind, mode, "rep4", 1)]]
    if first.rounds <= DEAR:
        runs[0].append(seen(kind, mode, "rep3", 1))
        runs[1].append(seen(kind, mode, "rep4", None))
    for found in runs:
        for run in found:
            assert all(run.trace) and run.trace == found[0].trace
            assert run.asked == first.asked
            for view in run.views:
                assert all(distance < LIMIT for distance in uniform(view).values()), uniform(view)
    assert not opened_inside(caplog.records)
