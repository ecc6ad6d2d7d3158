"""Code systems and the administrative concepts the mappings themselves rely on.

Identifiers are those of the OHDSI Standardized Vocabularies. Nothing here is clinical content: clinical
codes are only ever resolved against the vocabulary tables a site loads.
"""

FHIR_SYSTEMS: dict[str, str] = {
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10GM",
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": "ICD10GM",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://hl7.org/fhir/sid/icd-10-pcs": "ICD10PCS",
    "http://fhir.de/CodeSystem/bfarm/ops": "OPS",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://www.whocc.no/atc": "ATC",
    "http://unitsofmeasure.org": "UCUM",
    "http://www.ama-assn.org/go/cpt": "CPT4",
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "http://terminology.hl7.org/CodeSystem/icd-o-3": "ICDO3",
    "urn:oid:2.16.840.1.113883.6.96": "SNOMED",
    "urn:oid:2.16.840.1.113883.6.1": "LOINC",
    "urn:oid:2.16.840.1.113883.6.88": "RxNorm",
    "urn:oid:2.16.840.1.113883.6.90": "ICD10CM",
    "urn:oid:2.16.840.1.113883.6.103": "ICD9CM",
    "urn:oid:2.16.840.1.113883.6.69": "NDC",
}
"""FHIR system URI -> vocabulary_id. A site's profile may add its own."""

PREFERRED_VOCABULARIES: dict[str, tuple[str, ...]] = {
    "Condition": ("SNOMED", "ICD10CM", "ICD10", "ICD10GM", "ICD9CM"),
    "Procedure": ("SNOMED", "CPT4", "HCPCS", "ICD10PCS", "OPS"),
    "Drug": ("RxNorm", "RxNorm Extension", "CVX", "NDC", "ATC"),
    "Measurement": ("LOINC", "SNOMED"),
    "Observation": ("SNOMED", "LOINC"),
}
"""Domain a resource is expected in -> vocabularies, best first, to choose among several codes for one idea."""

GENDER = {"male": 8507, "female": 8532, "M": 8507, "F": 8532}
RACE = {"1002-5": 8657, "2028-9": 8515, "2054-5": 8516, "2076-8": 8557, "2106-3": 8527}
ETHNICITY = {"2135-2": 38003563, "2186-5": 38003564}

VISIT_CLASS = {
    "IMP": 9201,
    "ACUTE": 9201,
    "NONAC": 9201,
    "SS": 9201,
    "AMB": 9202,
    "EMER": 9203,
    "OBSENC": 262,
    "VR": 722455,
    "HH": 581476,
}
ADMITTED_FROM = {
    "hosp-trans": 38004515,
    "emd": 8870,
    "outp": 8756,
    "born": 38004515,
    "gp": 8940,
    "mp": 8940,
    "nursing": 8676,
    "psych": 8971,
    "rehab": 38004254,
}
DISCHARGED_TO = {
    "home": 8536,
    "alt-home": 8536,
    "other-hcf": 33007,
    "hosp": 8546,
    "long": 38004277,
    "aadvice": 32216,
    "exp": 32218,
    "psy": 8971,
    "rehab": 32266,
    "snf": 8863,
}
OPERATORS = {"<": 4171756, "<=": 4171754, "=": 4172703, ">=": 4171755, ">": 4172704}
YES, NO = 4188539, 4188540
ALLERGY = {"food": 4188027, "medication": 439224, "environment": 4144450, "biologic": 43530807}
INTOLERANCE = {"food": 4340252, "medication": 4240582, "environment": 4172024, "biologic": 36684107}
ALLERGY_UNSPECIFIED = 43530807

CONFIRMED_DIAGNOSIS, PRELIMINARY_DIAGNOSIS, RESOLVED_CONDITION = 32893, 32899, 32906

TYPE_EHR = 32817
TYPE_ADMINISTRATION = 32818
TYPE_ENCOUNTER_RECORD = 32827
TYPE_PRESCRIPTION = 32838
TYPE_PROBLEM_LIST = 32840
TYPE_LAB = 32856
TYPE_SELF_REPORT = 32865
TYPE_GOVERNMENT_REPORT = 32848
TYPE_DERIVED = 32882
"""Standard algorithm from EHR: marks observation periods, and rows whose start date was completed by rule."""

GENERATED = "OMOP generated"
ADMINISTRATIVE: tuple[tuple[int, str, str, str, str], ...] = (
    # concept_id, name, domain, vocabulary, code
    (0, "No matching concept", "Metadata", "None", "No matching concept"),
    (8507, "Male", "Gender", "Gender", "M"),
    (8532, "Female", "Gender", "Gender", "F"),
    (8515, "Asian", "Race", "Race", "2"),
    (8516, "Black or African American", "Race", "Race", "3"),
    (8527, "White", "Race", "Race", "5"),
    (8557, "Native Hawaiian or other Pacific Islander", "Race", "Race", "4"),
    (8657, "American Indian or Alaska Native", "Race", "Race", "1"),
    (38003563, "Hispanic or Latino", "Ethnicity", "Ethnicity", "Hispanic"),
    (38003564, "Not Hispanic or Latino", "Ethnicity", "Ethnicity", "Not Hispanic"),
    (9201, "Inpatient visit", "Visit", "Visit", "IP"),
    (9202, "Outpatient visit", "Visit", "Visit", "OP"),
    (9203, "Emergency room visit", "Visit", "Visit", "ER"),
    (262, "Emergency room and inpatient visit", "Visit", "Visit", "ERIP"),
    (TYPE_EHR, "EHR", "Type Concept", "Type Concept", GENERATED),
    (TYPE_ADMINISTRATION, "EHR administration record", "Type Concept", "Type Concept", GENERATED),
    (TYPE_ENCOUNTER_RECORD, "EHR encounter record", "Type Concept", "Type Concept", GENERATED),
    (TYPE_PRESCRIPTION, "EHR prescription", "Type Concept", "Type Concept", GENERATED),
    (TYPE_PROBLEM_LIST, "EHR problem list", "Type Concept", "Type Concept", GENERATED),
    (TYPE_LAB, "Lab", "Type Concept", "Type Concept", GENERATED),
    (TYPE_SELF_REPORT, "Patient self-report", "Type Concept", "Type Concept", GENERATED),
    (TYPE_GOVERNMENT_REPORT, "Government report", "Type Concept", "Type Concept", GENERATED),
    (TYPE_DERIVED, "Standard algorithm from EHR", "Type Concept", "Type Concept", GENERATED),
    (8505, "hour", "Unit", "UCUM", "h"),
    (8512, "day", "Unit", "UCUM", "d"),
    (8554, "percent", "Unit", "UCUM", "%"),
    (8576, "milligram", "Unit", "UCUM", "mg"),
    (8582, "centimeter", "Unit", "UCUM", "cm"),
    (8587, "milliliter", "Unit", "UCUM", "mL"),
    (8636, "gram per liter", "Unit", "UCUM", "g/L"),
    (8645, "unit per liter", "Unit", "UCUM", "U/L"),
    (8713, "gram per deciliter", "Unit", "UCUM", "g/dL"),
    (8749, "micromole per liter", "Unit", "UCUM", "umol/L"),
    (8753, "millimole per liter", "Unit", "UCUM", "mmol/L"),
    (8840, "milligram per deciliter", "Unit", "UCUM", "mg/dL"),
    (8842, "nanogram per milliliter", "Unit", "UCUM", "ng/mL"),
    (8876, "millimeter mercury column", "Unit", "UCUM", "mm[Hg]"),
    (9448, "year", "Unit", "UCUM", "a"),
    (9529, "kilogram", "Unit", "UCUM", "kg"),
    (9531, "kilogram per square meter", "Unit", "UCUM", "kg/m2"),
)
"""Administrative concepts added to a database whose vocabulary export lacks them."""
