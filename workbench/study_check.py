"""A draft becomes a study: what is still to be filled in, what is wrong, and what to think about before signing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import yaml

from cohort_lang import CohortError, Lint, lint, lint_variables, parse
from cohort_lang.variables import named_concept_sets
from governance.approval import check_study
from governance.errors import Expired, GovernanceError, NotYetValid
from governance.federation import Federation
from governance.keys import SealingKey, SigningKey
from governance.study import Purpose, StudyProtocol
from mpc_backend.analyses.errors import AnalysisError
from mpc_backend.planned import check_entry
from workbench.drafts import default_validity
from workbench.errors import DraftError
from workbench.identities import Identity

PLACEHOLDER = "FILLED IN"
TRIAL_FEDERATION = "0" * 64
TRIAL_PROTOCOL = "rep4"


@dataclass(frozen=True)
class Finding:
    """One thing found in a study. ``error``: it cannot be submitted; ``lint``: allowed, worth a thought."""

    level: Literal["error", "lint"]
    where: str
    text: str


def complete_study(
    text: str,
    federation: Federation | None,
    identity: Identity,
    *,
    trial: bool = False,
    nonce: str | None = None,
) -> StudyProtocol:
    """Read a draft, putting in what the workbench knows: federation, protocol, the investigator's own keys.

    ``trial``: keys of others that are still open become throw-away ones, so that the draft can be checked and
    explained; such a study must not be submitted. Without a federation an open digest becomes
    `TRIAL_FEDERATION`, which no federation has. `open_fields` names what was open. ``nonce``: taken where
    the draft has none, so that the digest of an unchanged draft stays the same.

    Raises:
        DraftError: another recipient's keys are still to be filled in.
        governance.errors.DocumentError: a field at fault, by path.
    """
    draft = _mapping(text)
    fresh = {"nonce": nonce} if draft and nonce is not None and "nonce" not in draft else {}
    return StudyProtocol.from_yaml(text, **_known(draft, federation, identity, trial), **fresh)


def open_fields(text: str) -> tuple[str, ...]:
    """The fields of a draft that `complete_study` fills in because its author left them open."""
    draft = _mapping(text)
    found = ["federation"] if _open(draft.get("federation")) else []
    investigator, people = draft.get("investigator"), draft.get("recipients")
    if isinstance(investigator, dict) and _open(investigator.get("key")):
        found.append("investigator.key")
    for entry in people if isinstance(people, list) else []:
        if isinstance(entry, dict):
            keys = [name for name in ("signing_key", "sealing_key") if _open(entry.get(name))]
            found += [f"recipients.{entry.get('id')}.{name}" for name in keys]
    return tuple(found)


def trial_keys(text: str, study: StudyProtocol, identity: Identity | None) -> frozenset[str]:
    """The investigator's key in a completed draft, if its author left it open and ``identity`` does not fill it."""
    key, own = study.investigator.key, None if identity is None else identity.signing.public
    return frozenset([key] if key != own and "investigator.key" in open_fields(text) else ())


def _mapping(text: str) -> Mapping[str, Any]:
    """The draft's fields; none if it is no mapping or no YAML, which `StudyProtocol.from_yaml` refuses."""
    try:
        draft = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return draft if isinstance(draft, dict) else {}


def _known(
    draft: Mapping[str, Any], federation: Federation | None, identity: Identity, trial: bool
) -> dict[str, Any]:
    if not draft:
        return {}
    digest = TRIAL_FEDERATION if federation is None else federation.digest
    protocol = TRIAL_PROTOCOL if federation is None else federation.protocol
    known: dict[str, Any] = {}
    for name, value in {"federation": digest, "protocol": protocol}.items():
        if _open(draft.get(name)):
            known[name] = value
    investigator = draft.get("investigator")
    if isinstance(investigator, dict) and _open(investigator.get("key")):
        known["investigator"] = {**investigator, "key": identity.signing.public}
    if isinstance(draft.get("recipients"), list):
        known["recipients"] = [_recipient(entry, identity, trial) for entry in draft["recipients"]]
    return known


def _recipient(entry: Any, identity: Identity, trial: bool) -> Any:
    if not isinstance(entry, dict) or not (
        _open(entry.get("signing_key")) or _open(entry.get("sealing_key"))
    ):
        return entry
    keys = identity
    if entry.get("role") != "researcher":
        if not trial:
            raise DraftError(
                f"recipient {entry.get('id')!r}: put in the public keys the hospital gave for its physician; "
                "`tessera workbench users add` prints them there"
            )
        keys = Identity(SigningKey.generate(), SealingKey.generate())
    return {**entry, "signing_key": keys.signing.public, "sealing_key": keys.sealing.public}


def _open(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.startswith(PLACEHOLDER))


def check(
    study: StudyProtocol,
    now: datetime,
    federation: Federation | None = None,
    trial: Collection[str] = (),
) -> list[Finding]:
    """Everything the parties would refuse, words of the template, and the lints of every cohort. Empty: ready to submit.

    A study that begins later than ``now`` may be submitted. ``trial``: see `trial_keys`.
    """
    found = [*_out_of_date(study, now), *_against_federation(study, federation, trial), *unwritten(study)]
    named = {name for variable in study.variables.values() for name in named_concept_sets(variable)}
    for name, text in study.cohorts.items():
        found += check_cohort(f"cohorts.{name}", text, used=named)
    found += [Finding("lint", "variables", str(one)) for one in lint_variables(study.variables)]
    for entry in study.analyses:
        try:
            check_entry(study, entry)
        except AnalysisError as error:
            found.append(Finding("error", f"analyses.{entry.id}", str(error)))
        except CohortError:
            continue  # told with the cohort
    return found


def _out_of_date(study: StudyProtocol, now: datetime) -> list[Finding]:
    try:
        study.check_time(now)
    except NotYetValid:
        return []
    except Expired as error:
        return [Finding("error", "validity.not_after", str(error))]
    return []


def _against_federation(
    study: StudyProtocol, federation: Federation | None, trial: Collection[str]
) -> list[Finding]:
    if federation is None:
        return []
    try:
        check_study(federation, study, trial)
    except GovernanceError as error:
        return [Finding("error", "federation", str(error))]
    return []


def check_cohort(where: str, text: str, used: Collection[str] = ()) -> list[Finding]:
    """Errors and lints of one cohort definition; ``used``: concept sets that variables refer to."""
    try:
        cohort = parse(text)
    except CohortError as error:
        return [Finding("error", where, str(error))]
    found = [one for one in lint(cohort) if not _only_unused_here(one, used)]
    return [Finding("error" if one.severity == "error" else "lint", where, str(one)) for one in found]


def _only_unused_here(one: Lint, used: Collection[str]) -> bool:
    return one.code == "unused-concept-set" and any(f"'{name}'" in one.message for name in used)


def unwritten(study: StudyProtocol) -> list[Finding]:
    """What still holds the text of `template`, in one finding: nobody should sign that."""
    texts = {
        "title": study.title,
        "purpose.description": study.purpose.description,
        "purpose.legal_basis": study.purpose.legal_basis,
        "purpose.ethics_reference": study.purpose.ethics_reference,
        "investigator.organisation": study.investigator.organisation,
        **{f"recipients.{one.id}.organisation": one.organisation for one in study.recipients},
    }
    fields = [name for name, text in texts.items() if text in TEMPLATE_TEXTS.values()]
    said = "still the text of the template; write your own before you submit"
    return [Finding("error", ", ".join(fields), said)] if fields else []


TEMPLATE_TEXTS = {
    "title": "What this study asks, in one line",
    "description": "Why the question matters and what will be done with the answer.",
    "legal_basis": "The permit or law this use of health data rests on.",
    "ethics_reference": "Number of the ethics board's vote.",
    "organisation": "Your organisation",
}


def template(moment: datetime, federation: Federation | None = None, cohort: str | None = None) -> str:
    """A study to start from, of this cohort; every field that has to be thought about is there."""
    sites = [site.id for site in federation.sites] if federation else ["north", "south", "west"]
    minimum = min(3, len(sites))
    head = {
        "tessera": "study/1",
        "title": TEMPLATE_TEXTS["title"],
        "short_name": "my-study",
        "purpose": {
            "use": Purpose.SCIENTIFIC_RESEARCH.value,
            **{name: TEMPLATE_TEXTS[name] for name in ("description", "legal_basis", "ethics_reference")},
        },
        "investigator": {
            "role": "principal investigator",
            "organisation": TEMPLATE_TEXTS["organisation"],
            "key": f"{PLACEHOLDER} on submission",
        },
        "federation": federation.digest if federation else f"{PLACEHOLDER} on submission",
        "protocol": federation.protocol if federation else TRIAL_PROTOCOL,
        "sites": sites,
        "cohorts": {"patients": cohort or COHORT},
        "analyses": [{"id": "attrition", "kind": "cohort_count", "cohort": "patients", "parameters": {}}],
        "disclosure": {"minimum_cell": 10, "rounding": 10, "minimum_sites": minimum},
        "recipients": [
            {
                "id": "researcher",
                "role": "researcher",
                "organisation": TEMPLATE_TEXTS["organisation"],
                "signing_key": f"{PLACEHOLDER} on submission",
                "sealing_key": f"{PLACEHOLDER} on submission",
            }
        ],
        "budget": {"runs": 10},
        "validity": default_validity(moment),
    }
    return yaml.dump(head, Dumper=_Blocks, sort_keys=False, allow_unicode=True, width=100)


COHORT = """cohort "Adults with type 2 diabetes"

concept set "type 2 diabetes": 201826 and descendants

enter on first condition of "type 2 diabetes"
  with 365 days of prior observation

require "18 years or older": age 18 or more

exit at end of observation
keep first entry per person
"""


class _Blocks(yaml.SafeDumper):
    """YAML that writes texts of several lines as blocks."""


_Blocks.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
