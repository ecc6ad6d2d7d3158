"""The statistical analyses: one file each, the same code on shares and, as the plain twin, on numpy arrays."""
