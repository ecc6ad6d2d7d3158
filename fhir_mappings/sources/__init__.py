"""One module per kind of extract: FHIR R4, OMOP tables, flat CSV."""
