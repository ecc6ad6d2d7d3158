"""What to do about an error of the database, said without its own words, which may quote a patient's data."""

from __future__ import annotations

_ADVICE = (
    (
        ("ConversionException", "InvalidInputException", "OutOfRangeException", "TypeMismatchException"),
        "a value does not fit the type of its column: correct the extract there and load it again",
    ),
    (
        ("CatalogException", "BinderException"),
        "a table or column is not there, or is of another type than the common model's: load the extract again",
    ),
    (
        ("OutOfMemoryException", "MemoryError"),
        "memory ran out: end other programs or take a machine with more",
    ),
    (
        ("IOException", "HTTPException", "PermissionException"),
        "a file cannot be read or written: see that the disk has room and that no other program uses the database",
    ),
)
_OTHERWISE = (
    "load the extract again, and if that does not help report this line to those who maintain the software"
)


def database_advice(error: BaseException) -> str:
    """What a person can do, by the type of the error alone."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return next((advice for names, advice in _ADVICE if kinds & set(names)), _OTHERWISE)
