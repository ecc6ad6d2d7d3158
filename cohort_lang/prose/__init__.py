"""Definitions in plain clinical English."""

from cohort_lang.prose.explain import explain

__all__ = ["explain"]
