"""From text to tree."""

from cohort_lang.parsing.parser import parse, parse_concept_sets

__all__ = ["parse", "parse_concept_sets"]
