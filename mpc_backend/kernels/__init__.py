"""Compiled loops over elements, cached on disk. Nothing above this package loops over elements.

``python -m mpc_backend.kernels`` compiles all of them once.
"""
