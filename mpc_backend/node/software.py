"""One digest for the program that runs here, so that nodes and recipients can see that all nodes run the same."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("cohort_lang", "governance", "mpc_backend")
"""The packages a node imports."""


@cache
def software_digest() -> str:
    """SHA-256 (hex) over the source files a node runs, as they were when first asked for.

    Hashed are, for each package and each ``.py`` and ``.lark`` file in order of its path: the length of the
    path, the path with forward slashes, the length of the file, the file. Lengths are 8 bytes, little-endian.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = package_folder(package)
        for file in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
            if file.suffix in {".py", ".lark"} and file.is_file():
                name = f"{package}/{file.relative_to(root).as_posix()}".encode()
                content = file.read_bytes()
                for part in (name, content):
                    digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def package_folder(package: str) -> Path:
    """Where an installed package's sources are."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))
