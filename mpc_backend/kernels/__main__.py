"""Compile every kernel into the on-disk cache: ``python -m mpc_backend.kernels``."""

from __future__ import annotations

import logging

from mpc_backend.kernels.warming import compile_all

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("mpc_backend.kernels").info("kernels compiled in %.1f s", compile_all())
