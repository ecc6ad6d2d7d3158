"""The common model (OMOP CDM 5.4) and how FHIR, CSV and OMOP sources become it."""
