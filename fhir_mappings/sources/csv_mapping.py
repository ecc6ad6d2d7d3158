"""The mapping file of a flat CSV extract: which file, row and column becomes which field of the common model.

Written in YAML. A column is named as in the file's header; ``{constant: ...}`` stands for a fixed value.

    tessera: csv-mapping/1
    files:
      - path: diagnoses.csv
        encoding: latin-1
        delimiter: ";"
        dates: ["%d.%m.%Y"]
        rows:
          - table: condition_occurrence
            person: PATNR
            start: DATE
            concept: {column: ICD, vocabulary: ICD10CM}
"""

import codecs
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fhir_mappings.codes import GENDER
from fhir_mappings.errors import ProfileError
from fhir_mappings.validation import describe

LOCAL_CONCEPTS_FROM = 2_000_000_000
GENDERS = GENDER | {str(concept): concept for concept in GENDER.values()}
"""What a field ``gender`` without a map understands."""


class Part(BaseModel):
    """Base of every section: immutable, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Cell(Part):
    """A value of a row: a column, or the same constant in every row; ``map`` replaces written values."""

    column: str | None = None
    constant: str | int | float | None = None
    map: dict[str, str | int] = {}

    @model_validator(mode="after")
    def _one(self) -> "Cell":
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either a column or a constant")
        return self

    @field_validator("map", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        return {str(key): entry for key, entry in value.items()} if isinstance(value, dict) else value


class Code(Cell):
    """A code: looked up in ``vocabulary``, or in one named by another column, or given its concept id by ``map``."""

    vocabulary: str | None = None
    vocabulary_column: str | None = None
    vocabularies: dict[str, str] = {}
    """What ``vocabulary_column`` may hold -> vocabulary_id."""
    map: dict[str, int] = {}  # type: ignore[assignment]

    @model_validator(mode="after")
    def _resolvable(self) -> "Code":
        if not (self.vocabulary or self.vocabulary_column or self.map):
            raise ValueError("give a vocabulary, a vocabulary_column or a map to concept ids")
        if self.vocabulary and self.vocabulary_column:
            raise ValueError("give a vocabulary or a vocabulary_column, not both")
        return self


class When(Part):
    """A condition on one column; several conditions must all hold."""

    column: str
    equals: str | None = None
    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    present: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> "When":
        given = [self.equals, self.one_of, self.none_of, self.present]
        if sum(entry is not None for entry in given) != 1:
            raise ValueError("give exactly one of equals, one_of, none_of, present")
        return self


Value = Annotated[Cell, BeforeValidator(_column)]
Coded = Annotated[Code, BeforeValidator(_column)]


class Row(Part):
    """What one row of a file becomes. ``when``: only rows for which every condition holds."""

    when: tuple[When, ...] = ()
    person: str

    @property
    def name(self) -> str:
        return str(getattr(self, "table", "row"))


class PersonRow(Row):
    table: Literal["person"]
    birth: Value
    gender: Value | None = None
    race: Value | None = None
    ethnicity: Value | None = None

    @field_validator("gender")
    @classmethod
    def _understood(cls, value: Cell | None) -> Cell | None:
        if value is None or value.map or (value.column is None and str(value.constant) not in GENDERS):
            return value
        return value.model_copy(update={"map": GENDERS})


class DeathRow(Row):
    table: Literal["death"]
    date: Value | None = None


class VisitRow(Row):
    table: Literal["visit_occurrence"]
    visit: str
    kind: Value
    """Visit concept id; use ``map`` for the source's words."""
    start: Value
    end: Value | None = None


class EventRow(Row):
    """A clinical event. The table is where it goes unless its concept's domain says otherwise."""

    table: Literal[
        "condition_occurrence",
        "drug_exposure",
        "procedure_occurrence",
        "measurement",
        "observation",
        "device_exposure",
    ]
    concept: Coded
    start: Value
    end: Value | None = None
    visit: str | None = None
    type_concept_id: int = 32817
    number: Value | None = None
    text: Value | None = None
    value: Coded | None = None
    unit: Coded | None = None
    quantity: Value | None = None
    days_supply: Value | None = None
    refills: Value | None = None
    stop_reason: Value | None = None
    keep_table: bool = False
    """True: stays in ``table`` whatever the concept's domain."""


class File(Part):
    """One CSV file and what its rows become."""

    path: str
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    decimal: Literal[".", ","] = "."
    dates: tuple[str, ...] = ("%Y-%m-%d",)
    """strptime formats, tried in order."""
    missing: tuple[str, ...] = ("", "NA", "N/A", "NULL", "null", "NaN")
    where: tuple[When, ...] = ()
    """Only these rows are read at all."""
    key: str | None = None
    """Column that identifies a row; without one, rows equal in every column count once."""
    repeated_rows: Literal["once", "each"] = "once"
    rows: Annotated[
        tuple[Annotated[PersonRow | DeathRow | VisitRow | EventRow, Field(discriminator="table")], ...],
        Field(min_length=1),
    ]

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError("not a known text encoding such as utf-8, latin-1 or cp1252") from None


class LocalConcept(Part):
    """A concept of the site's own, for codes no vocabulary has."""

    concept_id: Annotated[int, Field(ge=LOCAL_CONCEPTS_FROM, lt=2**31)]
    name: str
    domain: Literal["Condition", "Drug", "Procedure", "Measurement", "Observation", "Device"]
    code: str


class Mapping(Part):
    """A whole mapping file."""

    tessera: Literal["csv-mapping/1"]
    description: str = ""
    concepts: tuple[LocalConcept, ...] = ()
    files: Annotated[tuple[File, ...], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path) -> "Mapping":
        """Read a mapping file. Raises ProfileError naming the file and every wrong entry."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ProfileError(f"{path}: no such mapping file") from None
        except UnicodeDecodeError:
            raise ProfileError(f"{path.name}: not UTF-8 text") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
            raise ProfileError(f"{path.name}{where}: not YAML: {getattr(error, 'problem', None)}") from None
        except ValidationError as error:
            raise ProfileError(f"{path.name}: {describe(error, cls, quote=True)}") from None
