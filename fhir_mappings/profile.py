"""The site's profile: every choice a mapping run makes that is not a fact of the data, declared in one TOML file."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fhir_mappings.errors import ProfileError
from fhir_mappings.validation import describe

Intent = Literal[
    "proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order", "option"
]
RequestStatus = Literal["active", "on-hold", "cancelled", "completed", "stopped", "draft", "unknown"]


class Part(BaseModel):
    """Base of every section: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Part):
    """Who holds the data; becomes the row of ``cdm_source``."""

    name: str = "unnamed source"
    abbreviation: Annotated[str, Field(max_length=25)] = "source"
    holder: str = "unnamed holder"
    description: str = ""


class ObservationPeriodRule(Part):
    """How the time in which a person is taken to be observed is derived; one period for each person with events."""

    start: Literal["first-event", "first-encounter"] = "first-event"
    end: Literal["last-event", "last-encounter", "extract-date"] = "extract-date"

    def sentence(self) -> str:
        start = self.start.replace("-", " ")
        end = self.end.replace("-", " ")
        return f"from the {start} to the {end}, not beyond death or the extract date"


class DeathRule(Part):
    """What is done when a source says a person died without saying when."""

    without_date: Literal["omit", "last-event"] = "omit"

    def sentence(self) -> str:
        if self.without_date == "omit":
            return "death from the recorded date of death; a death without a date is counted but not recorded"
        return "death from the recorded date of death; without one, the date of the person's last event"


class FhirOptions(Part):
    """Rules for FHIR R4 resources that sites may settle differently."""

    version: Literal["4.0.1"] = "4.0.1"
    medication_request_intents: tuple[Intent, ...] = (
        "order",
        "original-order",
        "reflex-order",
        "filler-order",
        "instance-order",
    )
    medication_request_statuses: tuple[RequestStatus, ...] = ("active", "completed")
    code_systems: dict[str, str] = {}
    """Further system URI -> vocabulary_id, e.g. for a local code system loaded with the vocabulary."""


class Profile(Part):
    """All options of one site's mapping runs."""

    source: Source = Source()
    extract_date: date | None = None
    """Last day the extract can speak of; None: the newest ``meta.lastUpdated`` or event of the extract."""
    earliest_date: date = date(1900, 1, 1)
    time_zone: str = "as-written"
    """IANA name to convert moments to; ``as-written`` keeps the wall clock of the place of care."""
    drug_days_without_end: Annotated[int, Field(ge=1, le=365)] = 30
    """Length in days given to a prescription that states neither end nor days of supply."""
    keep_source_ids: bool = True
    """Keep the source's person id in ``person_source_value``."""
    observation_period: ObservationPeriodRule = ObservationPeriodRule()
    death: DeathRule = DeathRule()
    fhir: FhirOptions = FhirOptions()
    csv_mapping: str | None = None
    """Path of the mapping file of a CSV extract, relative to the folder of the profile."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value != "as-written":
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError("not an IANA time zone such as Europe/Berlin") from None
        return value

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read a TOML profile. Raises ProfileError naming the file and every wrong field."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ProfileError(f"{path}: no such profile") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"{path.name}: not TOML: {error}") from None
        except ValidationError as error:
            raise ProfileError(f"{path.name}: {describe(error, cls, quote=True)}") from None
