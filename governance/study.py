"""The study protocol: one document that people sign and that every node and site executes as it stands.

People write it as YAML; what is signed is its RFC 8785 form. Mappings therefore have no order of their own: a
study read from YAML is brought into canonical order at once, so that the author sees what the sites will see.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, JsonValue, model_validator

from cohort_lang.variables import Variable
from governance.canonical import parse_json
from governance.disclosure import SMALLEST_OPEN_ROUNDING, DisclosurePolicy
from governance.document import (
    Digest,
    Document,
    Nonce,
    Part,
    PublicKey,
    SealingPublicKey,
    Slug,
    UtcTime,
    Words,
    absent,
)
from governance.errors import DocumentError, Expired, NotYetValid, UnknownAnalysis, UnknownRequester
from governance.linkage import Linkage
from governance.protocols import ProtocolName

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A name that also serves as a column."""

COHORT_LEFT_OPEN = ("cohort_count",)
"""Kinds of analysis whose cohort a feasibility study may leave to each run."""

LONGEST_VALIDITY = timedelta(days=3653)
"""Ten years, the longest a data permit may run."""


class Purpose(StrEnum):
    """What health data may be used for a second time. Anything else cannot be written down, so it cannot be
    signed."""

    PUBLIC_HEALTH = "public_health"
    POLICY_AND_REGULATION = "policy_and_regulation"
    OFFICIAL_STATISTICS = "official_statistics"
    EDUCATION = "education"
    SCIENTIFIC_RESEARCH = "scientific_research"
    CARE_IMPROVEMENT = "care_improvement"


class StudyPurpose(Part):
    """Why, in words, and on which legal basis. ``ethics_reference``: number of the board's vote, or why none
    is needed."""

    use: Purpose
    description: Words
    legal_basis: Words
    ethics_reference: Words


class Investigator(Part):
    """Who answers for the study and signs its submission."""

    role: Words
    organisation: Words
    key: PublicKey


class StudyAnalysis(Part):
    """One analysis: what kind, on which cohort, with which parameters (their meaning belongs to the analysis)."""

    id: Slug
    kind: Name
    cohort: Name | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class Recipient(Part):
    """Who may ask for runs and read their results. A physician reads at a hospital, named by ``site``."""

    id: Slug
    role: Literal["researcher", "physician"]
    organisation: Words
    signing_key: PublicKey
    sealing_key: SealingPublicKey
    site: Slug | None = None

    @model_validator(mode="after")
    def _physician_has_site(self) -> Self:
        if self.role == "physician" and self.site is None:
            raise ValueError("a physician needs `site`, the hospital whose workbench the physician uses")
        return self


class Budget(Part):
    """How many runs the study may have in all, and each requester of them."""

    runs: Annotated[int, Field(ge=1, le=1_000_000)]
    runs_per_requester: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Validity(Part):
    """First and last moment at which anything may run."""

    not_before: UtcTime
    not_after: UtcTime

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.not_after <= self.not_before:
            raise ValueError("not_after must be later than not_before")
        if self.not_after - self.not_before > LONGEST_VALIDITY:
            raise ValueError("a study runs for ten years at most; plan an amendment instead")
        return self


class FeasibilityBounds(Part):
    """What a feasibility study lets its recipients count: cohorts over these concept sets, so many times.

    ``concept_sets``: declarations in the cohort language; a cohort may use them and no other concepts.
    ``max_counts``: cohorts counted in all, over every recipient.
    """

    concept_sets: Words
    max_counts: Annotated[int, Field(ge=1, le=10_000)]


class StudyProtocol(Document):
    """See the module's docstring. ``amends`` is the digest of the version this one replaces; it is signed anew.

    ``linkage``: by what hospitals recognise a person whom several of them know. Without it no analysis may, and the canonical
    bytes do not mention it.
    """

    payload_type = "application/vnd.tessera.study+json"

    tessera: Literal["study/1"] = "study/1"
    title: Words
    short_name: Slug
    kind: Literal["protocol", "feasibility"] = "protocol"
    purpose: StudyPurpose
    investigator: Investigator
    federation: Digest
    protocol: ProtocolName
    sites: Annotated[tuple[Slug, ...], Field(min_length=1)]
    cohorts: dict[Name, Words] = Field(default_factory=dict)
    variables: dict[Name, Variable] = Field(default_factory=dict)
    analyses: Annotated[tuple[StudyAnalysis, ...], Field(min_length=1, max_length=200)]
    disclosure: DisclosurePolicy = DisclosurePolicy()
    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1)]
    budget: Budget
    validity: Validity
    synthetic_data: bool = False
    feasibility: FeasibilityBounds | None = None
    linkage: Annotated[Linkage | None, Field(exclude_if=absent)] = None
    amends: Digest | None = None
    nonce: Nonce

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _distinct("sites", self.sites)
        _distinct("analyses", (entry.id for entry in self.analyses))
        _distinct("recipients", (person.id for person in self.recipients))
        _distinct("recipients' signing keys", (person.signing_key for person in self.recipients))
        self._check_references()
        self._check_disclosure()
        self._check_linkage()
        if (self.kind == "feasibility") != (self.feasibility is not None):
            raise ValueError("`feasibility` bounds go with kind 'feasibility' and with no other")
        return self

    def _check_references(self) -> None:
        for entry in self.analyses:
            if entry.cohort is not None and entry.cohort not in self.cohorts:
                raise ValueError(
                    f"analysis {entry.id!r} names cohort {entry.cohort!r}; cohorts: {sorted(self.cohorts)}"
                )
            if entry.cohort is None and not (self.kind == "feasibility" and entry.kind in COHORT_LEFT_OPEN):
                raise ValueError(
                    f"analysis {entry.id!r} names no cohort; only {', '.join(COHORT_LEFT_OPEN)} in a "
                    f"feasibility study may leave it to the run; cohorts: {sorted(self.cohorts)}"
                )
        for person in self.recipients:
            if person.site is not None and person.site not in self.sites:
                raise ValueError(
                    f"recipient {person.id!r} is at {person.site!r}, which is no site of this study"
                )

    def _check_disclosure(self) -> None:
        if self.disclosure.release == "exact" and not self.synthetic_data:
            raise ValueError(
                "release 'exact' needs synthetic_data: true; real data are released with thresholds"
            )
        coarse = self.disclosure.release == "exact" or self.disclosure.rounding >= SMALLEST_OPEN_ROUNDING
        if self.kind == "feasibility" and not coarse:
            raise ValueError(
                f"disclosure.rounding {self.disclosure.rounding} is below {SMALLEST_OPEN_ROUNDING}, the least "
                f"for a feasibility study: its runs count cohorts of the requester's choice, and the difference "
                f"of two nearly equal cohorts counted exactly tells about single persons"
            )
        if len(self.sites) < self.disclosure.minimum_sites:
            raise ValueError(
                f"the study names {len(self.sites)} sites, fewer than disclosure.minimum_sites "
                f"({self.disclosure.minimum_sites})"
            )

    def _check_linkage(self) -> None:
        """What is said of persons by several hospitals is bounded more tightly than what each says of its own."""
        if self.linkage is None:
            return
        if self.kind == "feasibility":
            raise ValueError(
                "linkage goes with no feasibility study: a hospital that brings rows of its own making could ask by cohorts "
                "of its choice what others know of a person; link persons in a study of their own"
            )
        policy = self.disclosure
        if policy.release == "thresholded" and policy.rounding < policy.minimum_cell:
            raise ValueError(
                f"disclosure.rounding {policy.rounding} is below minimum_cell {policy.minimum_cell}, the least with linkage: "
                "beside other counts a finer number tells how many persons several hospitals have in common"
            )

    @classmethod
    def from_yaml(cls, text: str, **overrides: Any) -> Self:
        """Read a study as people write it; ``overrides`` replace top-level fields. A missing nonce is drawn.

        Raises:
            DocumentError: no YAML, a key named twice, or a field at fault (by path).
        """
        value = _parse_yaml(text)
        if not isinstance(value, dict):
            raise DocumentError("a study is a YAML mapping of fields; see examples/")
        fields = {"nonce": secrets.token_hex(16), **value, **overrides}
        return cls.from_canonical(cls.from_value(fields).canonical())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a whole study, as JSON or as the YAML that `to_yaml` writes; unlike a draft it has its nonce.

        Raises:
            DocumentError: neither, or a field absent or at fault (by path).
        """
        if text.lstrip().startswith("{"):
            return cls.from_value(parse_json(text.encode()))
        return cls.from_canonical(cls.from_value(_parse_yaml(text)).canonical())

    def to_yaml(self) -> str:
        """The study as YAML, cohort texts as blocks, nothing left out."""
        return yaml.dump(
            self.model_dump(mode="json"), Dumper=_StudyDumper, sort_keys=False, allow_unicode=True, width=100
        )

    def analysis(self, analysis_id: str) -> StudyAnalysis:
        """The analysis with this id.

        Raises:
            UnknownAnalysis: there is none; names those there are.
        """
        for entry in self.analyses:
            if entry.id == analysis_id:
                return entry
        known = [entry.id for entry in self.analyses]
        raise UnknownAnalysis(f"study {self.short_name} names no analysis {analysis_id!r}; it names {known}")

    def recipient(self, which: str) -> Recipient:
        """The recipient with this id or signing key.

        Raises:
            UnknownRequester: there is none.
        """
        for person in self.recipients:
            if which in (person.id, person.signing_key):
                return person
        known = [person.id for person in self.recipients]
        raise UnknownRequester(f"{which!r} is no recipient of study {self.short_name}; recipients: {known}")

    def check_time(self, now: datetime) -> None:
        """Refuse before the first and after the last moment of validity.

        Raises:
            NotYetValid, Expired: with both times.
        """
        first, last = self.validity.not_before, self.validity.not_after
        if now < first:
            raise NotYetValid(
                f"study {self.short_name} is valid from {first:%Y-%m-%d %H:%M}Z (validity.not_before); it is "
                f"{now:%Y-%m-%d %H:%M}Z: wait, or submit a study that begins earlier"
            )
        if now > last:
            raise Expired(
                f"study {self.short_name} was valid until {last:%Y-%m-%d %H:%M}Z (validity.not_after); it is "
                f"{now:%Y-%m-%d %H:%M}Z: submit a study that ends later"
            )


def _distinct(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} must be distinct; {value!r} is named twice")
        seen.add(value)


class _StudyLoader(yaml.SafeLoader):
    """YAML that refuses a key named twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for index, key in enumerate(keys) if key in keys[:index]]
        if repeated:
            raise DocumentError(f"line {node.start_mark.line + 1}: key {repeated[0]!r} appears twice")
        return super().construct_mapping(node, deep)


class _StudyDumper(yaml.SafeDumper):
    """YAML that writes texts of several lines as blocks."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_StudyDumper.add_representer(str, _StudyDumper.represent_str)


def _parse_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_StudyLoader)  # noqa: S506  (a SafeLoader with one more refusal)
    except yaml.YAMLError as error:
        raise DocumentError(f"not YAML: {' '.join(str(error).split())}") from error
