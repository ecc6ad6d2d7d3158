"""The statistical analyses: one file each, the same code on shares and, as the plain twin, on numpy arrays.

As functions of shared values, session first: `cox`, `kaplan_meier`, `log_rank`, `logistic`, `rmst`,
`survival_by_arm`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpc_backend.analyses.logistic_newton import fit_logistic as logistic
    from mpc_backend.analyses.shared_cox import cox
    from mpc_backend.analyses.shared_times import kaplan_meier, log_rank, rmst, survival_by_arm

__all__ = ["cox", "kaplan_meier", "log_rank", "logistic", "rmst", "survival_by_arm"]

_PLACES = {
    "cox": ("shared_cox", "cox"),
    "kaplan_meier": ("shared_times", "kaplan_meier"),
    "log_rank": ("shared_times", "log_rank"),
    "logistic": ("logistic_newton", "fit_logistic"),
    "rmst": ("shared_times", "rmst"),
    "survival_by_arm": ("shared_times", "survival_by_arm"),
}
"""Module and name of each; no module of this package may bear the name of a function."""


def __getattr__(name: str) -> Any:
    """The functions, loaded when they are asked for: everybody who reads a study imports this package."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), function)
