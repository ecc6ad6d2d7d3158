"""What the workbench refuses or fails at, and how any error of Tessera is told to a person.

WorkbenchError
├── SettingsError          the settings or the state directory cannot be used
├── PortTaken              nothing can listen at the workbench's address                     exit 3
├── AccountError           an account cannot be made or changed
├── SignInRefused          wrong name or password, locked, or expired
├── PageDenied             a role, or this kind of workbench, may not open the page
├── DraftError             a study draft cannot be made into a study
├── JobError               a background job is unknown or late
└── ClientError            the Python client was asked for something the study does not hold
"""

from __future__ import annotations

from typing import Final

REFUSED: Final = 2
FAILED: Final = 3
PACKAGES: Final = frozenset(
    {"workbench", "site_connector", "mpc_backend", "governance", "cohort_lang", "fhir_mappings"}
)
# Errors of ours that mean "the work did not succeed", where the class itself has no attribute ``exit_code``.
FAILURES: Final = frozenset({"ProtocolAbort", "ShareMismatch"})


class WorkbenchError(Exception):
    """Root of everything the workbench raises on purpose."""

    exit_code: int = REFUSED


class SettingsError(WorkbenchError):
    """The settings or the state directory cannot be used."""


class PortTaken(WorkbenchError):
    """Nothing can listen at the workbench's address now."""

    exit_code = FAILED


class AccountError(WorkbenchError):
    """An account cannot be made or changed."""


class SignInRefused(WorkbenchError):
    """Wrong name or password, locked after failures, or the session ended."""


class PageDenied(WorkbenchError):
    """A role, or this kind of workbench, may not open the page."""


class DraftError(WorkbenchError):
    """A study draft cannot be made into a study."""


class JobError(WorkbenchError):
    """A background job is unknown, or its run gave no result in time."""


class ClientError(WorkbenchError):
    """The Python client was asked for something the study does not hold."""


def exit_status(error: BaseException) -> int | None:
    """2 refused, 3 failed, or None for an error nobody expected (whose traceback is wanted)."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    names = {cls.__name__ for cls in type(error).__mro__}
    if is_ours(error):
        return FAILED if names & FAILURES else REFUSED
    if names & {"ValidationError", "FileNotFoundError", "IsADirectoryError", "PermissionError"}:
        return REFUSED
    if isinstance(error, OSError) or "HTTPError" in names:
        return FAILED
    return None


def is_ours(error: BaseException) -> bool:
    """Whether one of Tessera's packages defines the error's class or one of its bases."""
    return any(cls.__module__.partition(".")[0] in PACKAGES for cls in type(error).__mro__)


def message_of(error: BaseException) -> str:
    """The error in words. A pydantic error names fields and what is expected there, never the value that was given."""
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        from fhir_mappings.validation import explain  # noqa: PLC0415  (loads pydantic, which an error has loaded)

        return explain(error.errors())
    if isinstance(error, OSError) and not is_ours(error):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return str(error) or type(error).__name__
