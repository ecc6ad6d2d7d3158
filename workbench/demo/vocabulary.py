"""The codes of the synthetic hospitals, and a small vocabulary export in the layout of OHDSI Athena.

Identifiers are those used in real extracts (ICD-10-CM, RxNorm, LOINC, UCUM, SNOMED CT concept ids); every
label is our own words and no terminology's descriptions are shipped. What has no public code (regimens,
resistance markers, stage, virological failure) lives in a local vocabulary with concept ids from
2,000,000,000, as the OMOP CDM reserves them. The concept ids given to ICD-10-CM codes are local too: only
the standard concept they map to matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REGIMENS: Final = 100
MARKERS: Final = 24
STAGES: Final = ("A", "B", "C")
LOCAL_VOCABULARY: Final = "Tessera Demo"
LOCAL_SYSTEM: Final = "https://tessera.example/codes"
ANY_REGIMEN: Final = 2_000_000_000
FIRST_REGIMEN: Final = 2_000_000_001
FIRST_MARKER: Final = 2_000_001_001
FIRST_STAGE: Final = 2_000_002_001
FAILURE: Final = 2_000_003_001

# key | vocabulary | code | concept id | standard concept id, where another | domain | class | label
_CODES: Final = """
t2dm             | SNOMED | 44054006 | 201826 | | Condition | Clinical Finding | diabetes, type 2 (any form)
t2dm_complicated | SNOMED | 422014003 | 443732 | | Condition | Clinical Finding | type 2 with a complication
t1dm             | SNOMED | 46635009 | 201254 | | Condition | Clinical Finding | diabetes, type 1
hf               | SNOMED | 84114007 | 316139 | | Condition | Clinical Finding | cardiac failure (any form)
hf_systolic      | SNOMED | 417996009 | 443580 | | Condition | Clinical Finding | cardiac failure, systolic
hf_diastolic     | SNOMED | 418304008 | 443587 | | Condition | Clinical Finding | cardiac failure, diastolic
ckd              | SNOMED | 709044004 | 46271022 | | Condition | Clinical Finding | long-term kidney disease
ckd3             | SNOMED | 433144002 | 443597 | | Condition | Clinical Finding | the same, stage 3
hypertension     | SNOMED | 59621000 | 320128 | | Condition | Clinical Finding | raised blood pressure
hiv              | SNOMED | 86406008 | 439727 | | Condition | Clinical Finding | HIV disease
metformin_any    | RxNorm | 6809 | 1503297 | | Drug | Ingredient | metformin
metformin        | RxNorm | 860975 | 40163924 | | Drug | Clinical Drug | metformin 500 mg, extended
glimepiride      | RxNorm | 25789 | 1597756 | | Drug | Ingredient | glimepiride
sitagliptin      | RxNorm | 593411 | 1580747 | | Drug | Ingredient | sitagliptin
empagliflozin    | RxNorm | 1545653 | 45774751 | | Drug | Ingredient | empagliflozin
insulin_glargine | RxNorm | 274783 | 1502905 | | Drug | Ingredient | insulin glargine
hba1c            | LOINC | 4548-4 | 3004410 | | Measurement | Lab Test | HbA1c, share of haemoglobin
hba1c_ifcc       | LOINC | 59261-8 | 40762352 | | Measurement | Lab Test | HbA1c, IFCC
cd4              | LOINC | 24467-3 | 3028167 | | Measurement | Lab Test | CD4 cells in blood
genotype_panel   | LOINC | 80689-3 | 21491517 | | Measurement | Lab Test | HIV resistance genotype, panel
icd_t2dm         | ICD10CM | E11.9 | 2000010001 | 201826 | Condition | ICD10 code | type 2 diabetes
icd_t2dm_kidney  | ICD10CM | E11.22 | 2000010002 | 443732 | Condition | ICD10 code | type 2 diabetes, kidneys
icd_t2dm_high    | ICD10CM | E11.65 | 2000010003 | 443732 | Condition | ICD10 code | type 2, high glucose
icd_t1dm         | ICD10CM | E10.9 | 2000010004 | 201254 | Condition | ICD10 code | type 1 diabetes
icd_hf           | ICD10CM | I50.9 | 2000010005 | 316139 | Condition | ICD10 code | heart failure
icd_hf_systolic  | ICD10CM | I50.20 | 2000010006 | 443580 | Condition | ICD10 code | heart failure, systolic
icd_hf_diastolic | ICD10CM | I50.30 | 2000010007 | 443587 | Condition | ICD10 code | heart failure, diastolic
icd_ckd3         | ICD10CM | N18.30 | 2000010008 | 443597 | Condition | ICD10 code | kidney disease, stage 3
icd_hypertension | ICD10CM | I10 | 2000010009 | 320128 | Condition | ICD10 code | high blood pressure
icd_hiv          | ICD10CM | B20 | 2000010010 | 439727 | Condition | ICD10 code | HIV disease
male             | Gender | M | 8507 | | Gender | Gender | male
female           | Gender | F | 8532 | | Gender | Gender | female
inpatient        | Visit | IP | 9201 | | Visit | Visit | inpatient stay
outpatient       | Visit | OP | 9202 | | Visit | Visit | outpatient visit
emergency        | Visit | ER | 9203 | | Visit | Visit | emergency visit
ehr              | Type Concept | OMOP4976890 | 32817 | | Type Concept | Type Concept | record
percent          | UCUM | % | 8554 | | Unit | Unit | percent
mmol_mol         | UCUM | mmol/mol | 9579 | | Unit | Unit | millimole per mole
cells_ul         | UCUM | {cells}/uL | 8784 | | Unit | Unit | cells per microlitre
per_ul           | UCUM | /uL | 8647 | | Unit | Unit | per microlitre
"""

_ANCESTORS: Final = (
    (201826, 443732),
    (316139, 443580),
    (316139, 443587),
    (46271022, 443597),
    (1503297, 40163924),
)
"""Parent and child among the standard concepts, one level apart."""

_VOCABULARY_CONCEPTS: Final = {
    "SNOMED": 44819097,
    "ICD10CM": 44819098,
    "RxNorm": 44819104,
    "LOINC": 44819102,
    "UCUM": 44819107,
    "Gender": 44819108,
    "Visit": 44819119,
    "Type Concept": 32808,
    LOCAL_VOCABULARY: 2_000_009_001,
}

_HEADERS: Final = {
    "CONCEPT": "concept_id concept_name domain_id vocabulary_id concept_class_id standard_concept "
    "concept_code valid_start_date valid_end_date invalid_reason",
    "CONCEPT_RELATIONSHIP": "concept_id_1 concept_id_2 relationship_id valid_start_date valid_end_date "
    "invalid_reason",
    "CONCEPT_ANCESTOR": "ancestor_concept_id descendant_concept_id min_levels_of_separation "
    "max_levels_of_separation",
    "VOCABULARY": "vocabulary_id vocabulary_name vocabulary_reference vocabulary_version "
    "vocabulary_concept_id",
    "DOMAIN": "domain_id domain_name domain_concept_id",
    "CONCEPT_CLASS": "concept_class_id concept_class_name concept_class_concept_id",
    "RELATIONSHIP": "relationship_id relationship_name is_hierarchical defines_ancestry "
    "reverse_relationship_id relationship_concept_id",
}
_VALID: Final = ("19700101", "20991231", "")


@dataclass(frozen=True)
class Code:
    """One code as it stands in an extract, and the standard concept it becomes."""

    key: str
    vocabulary: str
    code: str
    concept_id: int
    standard_id: int
    domain: str
    concept_class: str
    label: str

    @property
    def is_standard(self) -> bool:
        """Whether the code is itself the standard concept."""
        return self.concept_id == self.standard_id


def regimen(number: int) -> str:
    """The key of regimen ``number`` (from 1)."""
    return f"regimen_{number:03d}"


def marker(number: int) -> str:
    """The key of resistance marker ``number`` (from 1)."""
    return f"marker_{number:02d}"


def _public_codes() -> Iterator[Code]:
    for line in _CODES.strip().splitlines():
        key, vocabulary, code, concept, standard, *rest = (part.strip() for part in line.split("|"))
        yield Code(key, vocabulary, code, int(concept), int(standard or concept), *rest)


def _local_codes() -> Iterator[Code]:
    local = LOCAL_VOCABULARY
    label = "antiretroviral regimen (any)"
    yield Code("any_regimen", local, "RGM", ANY_REGIMEN, ANY_REGIMEN, "Drug", "Regimen", label)
    for n in range(1, REGIMENS + 1):
        concept = FIRST_REGIMEN + n - 1
        yield Code(regimen(n), local, f"RGM-{n:03d}", concept, concept, "Drug", "Regimen", f"regimen {n:03d}")
    for n in range(1, MARKERS + 1):
        concept, label = FIRST_MARKER + n - 1, f"resistance marker {n:02d} detected"
        yield Code(marker(n), local, f"MRK-{n:02d}", concept, concept, "Measurement", "Genotype", label)
    concept = FIRST_STAGE - 1
    yield Code("stage", local, "STAGE", concept, concept, "Observation", "Staging", "clinical stage")
    for n, stage in enumerate(STAGES):
        key, code, concept = f"stage_{stage}", f"STAGE-{stage}", FIRST_STAGE + n
        yield Code(key, local, code, concept, concept, "Meas Value", "Staging", f"stage {stage}")
    label = "virological failure, confirmed"
    yield Code("failure", local, "VF", FAILURE, FAILURE, "Condition", "Clinical Finding", label)


CODES: Final[dict[str, Code]] = {code.key: code for code in (*_public_codes(), *_local_codes())}
"""Every code of the demonstration by its key."""


def write_vocabulary(folder: Path) -> Path:
    """Write the export (tab separated, one file per vocabulary table) into ``folder``, created if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in _tables().items():
        lines = ["\t".join(_HEADERS[name].split()), *("\t".join(map(str, row)) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _tables() -> Mapping[str, Sequence[tuple[object, ...]]]:
    codes = list(CODES.values())
    source, version = "Tessera demonstration", "demonstration subset, own labels"
    return {
        "CONCEPT": [(0, "no matching concept", "Metadata", "None", "Undefined", "", "None", *_VALID)]
        + [_concept_row(code) for code in codes],
        "CONCEPT_RELATIONSHIP": [row for code in codes for row in _relationship_rows(code)],
        "CONCEPT_ANCESTOR": [(code.concept_id, code.concept_id, 0, 0) for code in codes if code.is_standard]
        + [(parent, child, 1, 1) for parent, child in _ANCESTORS]
        + [(ANY_REGIMEN, FIRST_REGIMEN + n, 1, 1) for n in range(REGIMENS)],
        "VOCABULARY": [("None", source, source, version, 0)]
        + [(name, name, source, version, concept) for name, concept in _VOCABULARY_CONCEPTS.items()],
        "DOMAIN": [(domain, domain, 0) for domain in sorted({code.domain for code in codes})],
        "CONCEPT_CLASS": [(klass, klass, 0) for klass in sorted({code.concept_class for code in codes})],
        "RELATIONSHIP": [
            ("Maps to", "non-standard to standard", 0, 0, "Mapped from", 44818977),
            ("Mapped from", "standard to non-standard", 0, 0, "Maps to", 44818976),
        ],
    }


def _concept_row(code: Code) -> tuple[object, ...]:
    head = (code.concept_id, code.label, code.domain, code.vocabulary, code.concept_class)
    return (*head, "S" if code.is_standard else "", code.code, *_VALID)


def _relationship_rows(code: Code) -> list[tuple[object, ...]]:
    return [
        (code.concept_id, code.standard_id, "Maps to", *_VALID),
        (code.standard_id, code.concept_id, "Mapped from", *_VALID),
    ]
