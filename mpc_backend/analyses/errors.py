"""What an analysis refuses, drawn as a tree.

    AnalysisError
    ├── ParametersRefused    the study's parameters for an analysis are malformed, or its kind is unknown
    ├── LocalDataError       a site's own data cannot give a column the study asks for
    ├── DisclosureRefused    the policy forbids any answer in this constellation (too few hospitals, for example)
    └── InputsRefused        the shared tables do not have the shape the parameters announce

Messages name columns, parameters and counts of hospitals; never a value of a patient.
"""

from __future__ import annotations

from mpc_backend import errors as engine


class AnalysisError(engine.EngineError):
    """Base of every refusal of an analysis."""


class ParametersRefused(AnalysisError, ValueError):
    """The parameters of an analysis are malformed; the message names the path of each wrong one."""


class LocalDataError(AnalysisError, engine.LocalDataError):
    """The site's data cannot give a column; the message names the column and the rule, never a value."""


class DisclosureRefused(AnalysisError):
    """Nothing may be released in this constellation, whatever the numbers are."""


class InputsRefused(AnalysisError, ValueError):
    """Shared tables or a query contradict the shape announced by the parameters."""
