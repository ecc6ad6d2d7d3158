"""Every kind of analysis by name, and the parameters of a study checked against its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from cohort_lang import CohortError, CohortRefused, parse
from cohort_lang.linking import linked
from cohort_lang.tree import Cohort
from cohort_lang.variables import Presence, TimeToEvent, Variable
from governance.canonical import canonical_json
from governance.document import explain_validation
from governance.study import StudyAnalysis, StudyProtocol
from mpc_backend.analyses.base import Analysis, Parameters
from mpc_backend.analyses.cohort_count import CohortCount
from mpc_backend.analyses.comparative_effectiveness import ComparativeEffectiveness
from mpc_backend.analyses.competing_risks import CompetingRisks
from mpc_backend.analyses.correlation import Correlation
from mpc_backend.analyses.errors import ParametersRefused
from mpc_backend.analyses.horizons import beside, check_horizons
from mpc_backend.analyses.linear_regression import LinearRegression
from mpc_backend.analyses.logistic_regression import LogisticRegression
from mpc_backend.analyses.survival import Survival
from mpc_backend.analyses.survival_parameters import SurvivalParameters, too_many
from mpc_backend.analyses.table_one import TableOne
from mpc_backend.analyses.treatment_ranking import TreatmentRanking

KINDS: dict[str, Analysis[Any]] = {
    each.kind: each
    for each in (
        CohortCount(),
        ComparativeEffectiveness(),
        CompetingRisks(),
        Correlation(),
        LinearRegression(),
        LogisticRegression(),
        Survival(),
        TableOne(),
        TreatmentRanking(),
    )
}


def analysis(kind: str) -> Analysis[Any]:
    """The analysis of a kind.

    Raises:
        ParametersRefused: there is none; names those there are.
    """
    if kind not in KINDS:
        raise ParametersRefused(f"no analysis of kind {kind!r}; kinds: {', '.join(sorted(KINDS))}")
    return KINDS[kind]


def parse_parameters(kind: str, parameters: Mapping[str, Any]) -> Parameters:
    """The typed parameters of an analysis.

    Raises:
        ParametersRefused: unknown kind, unknown names, or values out of range, each by its path.
    """
    model = analysis(kind).parameters
    try:
        parsed: Parameters = model.model_validate(dict(parameters))
    except ValidationError as error:
        raise ParametersRefused(explain_validation(f"parameters of {kind}", error, model)) from error
    return parsed


def resolve(
    study: StudyProtocol, analysis_id: str, run_parameters: Mapping[str, Any] | None = None
) -> tuple[Analysis[Any], Parameters]:
    """An analysis of a study and its complete parameters, for every party the same.

    A cohort count takes its steps, and how they are linked, from the cohort: the study's, or in a feasibility study the run
    request's. So does a survival analysis with linkage, with its longest follow-up from the outcome.

    Raises:
        governance.errors.UnknownAnalysis: the study names no such analysis.
        ParametersRefused: its parameters are at fault, or name a variable the study does not declare.
        cohort_lang.CohortSyntaxError: the cohort's text does not parse.
    """
    entry = study.analysis(analysis_id)
    found = analysis(entry.kind)
    given = dict(entry.parameters)
    if entry.cohort is None and given.get("steps"):
        raise ParametersRefused(
            f"analysis {entry.id!r} leaves its cohort to each run; its steps follow from that cohort, leave them out"
        )
    if isinstance(found, CohortCount):
        text = study.cohorts[entry.cohort] if entry.cohort else str((run_parameters or {}).get("cohort", ""))
        given["steps"] = given.get("steps") or list(steps_of(text))
        given |= _linkage(study, entry, text, {"linked", "first"})
    elif isinstance(found, Survival) and entry.cohort is not None:
        given |= _linked_times(study, entry, study.cohorts[entry.cohort])
    parameters = parse_parameters(entry.kind, given)
    check_variables(study, entry, parameters)
    if study.disclosure.release != "exact" and entry.cohort is not None:
        text = study.cohorts[entry.cohort]
        others = [other for other in study.analyses if other.id != entry.id]
        check_horizons(entry, others, lambda other: _same_cohort(study.cohorts.get(other.cohort or ""), text))
    if isinstance(parameters, SurvivalParameters) and parameters.linkage:
        _check_times(study, entry, parameters)
    return found, parameters


def _linked_times(study: StudyProtocol, entry: StudyAnalysis, text: str) -> dict[str, Any]:
    """How a survival analysis combines what hospitals say of a person; nothing for one that recognises nobody."""
    found = _linkage(study, entry, text, {"steps", "linked", "first", "follow_up_days"})
    outcome = study.variables.get(str(entry.parameters.get("outcome")))
    if not found or not isinstance(outcome, TimeToEvent):
        return found
    return {**found, "steps": list(steps_of(text)), "follow_up_days": outcome.horizon_days}


def _check_times(study: StudyProtocol, entry: StudyAnalysis, parameters: SurvivalParameters) -> None:
    """Whether the time of a person can be told from what hospitals know by themselves, and be counted."""
    outcome = study.variables[parameters.outcome]
    if isinstance(outcome, TimeToEvent) and outcome.censor == "cohort":
        raise ParametersRefused(
            f"analysis {entry.id!r}: outcome {parameters.outcome} ends with the cohort entry, whose end no hospital can "
            "tell by itself for linked persons; declare it with censor: observation"
        )
    if refusal := too_many(parameters, len(study.sites)):
        raise ParametersRefused(f"analysis {entry.id!r}: {refusal}")


def _linkage(study: StudyProtocol, entry: StudyAnalysis, text: str, follow: set[str]) -> dict[str, Any]:
    """How an analysis that recognises persons of several hospitals combines what they say; nothing for one that does not.

    ``follow``: parameters that follow from its cohort.
    """
    own = sorted(follow & set(entry.parameters))
    if own:
        raise ParametersRefused(
            f"analysis {entry.id!r} sets {' and '.join(own)}, which follow from its cohort; leave them out"
        )
    if entry.parameters.get("linkage") is not True:
        return {}
    if study.linkage is None:
        raise ParametersRefused(
            f"analysis {entry.id!r} counts persons of several hospitals once, and the study does not say by what they are "
            f"recognised; declare `linkage` with key and identifiers"
        )
    try:
        _check_alone(study, entry, text)
        meaning = linked(parse(text))
    except CohortRefused as error:
        raise ParametersRefused(f"analysis {entry.id!r}: {error}") from error
    steps = [{"how": step.how, "unless": step.unless} for step in meaning.steps]
    return {"linked": steps, "first": meaning.first is not None}


def _check_alone(study: StudyProtocol, entry: StudyAnalysis, text: str) -> None:
    """A linked count beside any other number of the same cohort tells how many of it several hospitals know; and rows that a
    hospital makes up in one of two linked counts tell what others know of a person. Exact release, which synthetic data alone
    have, hides nothing anyway.
    """
    if study.disclosure.release == "exact":
        return
    others = [
        other.id
        for other in study.analyses
        if other.id != entry.id
        and (other.cohort == entry.cohort or _same_cohort(study.cohorts.get(other.cohort or ""), text))
    ]
    if others:
        raise ParametersRefused(
            f"analysis {entry.id!r} counts persons of several hospitals once, and {', '.join(others)} uses the same cohort: "
            "the difference would tell how many persons hospitals have in common; put them into studies of their own"
        )


def side_by_side(study: StudyProtocol, other: StudyProtocol) -> list[str]:
    """What thresholded numbers of two studies, put side by side, would tell of single persons, one sentence for each pair of
    analyses that follow the same arms of the same cohort: cohorts and variables that mean the same, whatever they are called.
    """
    if "exact" in (study.disclosure.release, other.disclosure.release):
        return []
    found = []
    for mine in study.analyses:
        for theirs in other.analyses:
            what = beside(mine, theirs, partial(_defined, study), partial(_defined, other))
            texts = study.cohorts.get(mine.cohort or ""), other.cohorts.get(theirs.cohort or "")
            if what is not None and _readable_and_same(*texts):
                found.append(
                    f"{mine.id!r} here and {theirs.id!r} of study {other.short_name} ({other.digest[:8]}) follow the same "
                    f"arms of the same cohort with {what}: side by side they may tell when single persons failed"
                )
    return found


def _readable_and_same(one: str | None, other: str | None) -> bool:
    """A text that cannot be read defines no cohort: no study runs with it, and the page that shows it says why."""
    try:
        return other is not None and _same_cohort(one, other)
    except CohortError:
        return False


def _defined(study: StudyProtocol, name: str) -> str:
    """What a variable of a study is, whatever it is called."""
    variable = study.variables.get(name)
    return name if variable is None else canonical_json(variable).decode()


def _same_cohort(one: str | None, other: str) -> bool:
    """Whether two texts define the same cohort, whatever they and their rules are called."""
    return one is not None and (one == other or _meaning(one) == _meaning(other))


def _meaning(text: str) -> Cohort:
    cohort = parse(text)
    return replace(
        cohort, name="", description=None, rules=tuple(replace(rule, label="") for rule in cohort.rules)
    )


def check_variables(study: StudyProtocol, entry: StudyAnalysis, parameters: Parameters) -> None:
    """Whether the study declares every variable its analysis names, outcomes as times in the unit it reads.

    Raises:
        ParametersRefused: names those that are missing or of the wrong kind.
    """
    unknown = sorted({*parameters.outcomes, *parameters.covariates} - set(study.variables))
    if unknown:
        raise ParametersRefused(
            f"analysis {entry.id!r} names {', '.join(unknown)}, which the study does not declare; declared "
            f"variables: {', '.join(sorted(study.variables)) or 'none'}"
        )
    for name, unit in parameters.outcomes.items():
        _check_outcome(entry.id, name, unit, study.variables[name])
    for name in parameters.covariates:
        if isinstance(study.variables[name], TimeToEvent):
            raise ParametersRefused(
                f"analysis {entry.id!r} uses {name} as a covariate; it is a time_to_event, which is an outcome"
            )
    _check_flags(entry.id, study, parameters)


def _check_flags(analysis_id: str, study: StudyProtocol, parameters: Parameters) -> None:
    """The mean of a flag is a count, and a hospital cannot tell one from a number by a few rows."""
    flags = [name for name in parameters.uncounted if isinstance(study.variables[name], Presence)]
    if flags:
        raise ParametersRefused(
            f"analysis {analysis_id!r} reads {', '.join(flags)} as a number; a presence is 0 or 1: declare its codes "
            '["0", "1"], or take it by levels, so that persons of each are counted before anything is shown'
        )


def _check_outcome(analysis_id: str, name: str, unit: str, variable: Variable) -> None:
    if not isinstance(variable, TimeToEvent):
        raise ParametersRefused(
            f"analysis {analysis_id!r}: outcome {name} is declared as {variable.kind}; it must be time_to_event"
        )
    if variable.unit != unit:
        raise ParametersRefused(
            f"analysis {analysis_id!r} reads outcome {name} with time_unit {unit}; it is declared in unit "
            f"{variable.unit}"
        )


def steps_of(text: str) -> tuple[str, ...]:
    """The attrition labels of a cohort, as its evaluation names them: the entry event, each rule, the study period."""
    cohort = parse(text)
    period = ("Study period",) if cohort.period is not None else ()
    return ("Entry event", *(rule.label for rule in cohort.rules), *period)
