"""Cohort definitions: text, tree, lints, prose, and their evaluation on a hospital's own database."""
