"""The statistical analyses: one file each, the same code on shares and, as the plain twin, on numpy arrays.

Fits on shared values, session first: `logistic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpc_backend.analyses.logistic_newton import fit_logistic as logistic

__all__ = ["logistic"]


def __getattr__(name: str) -> Any:
    """The fits, loaded when they are asked for: everybody who reads a study imports this package."""
    if name == "logistic":
        from mpc_backend.analyses.logistic_newton import fit_logistic  # noqa: PLC0415

        return fit_logistic
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
