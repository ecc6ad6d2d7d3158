"""Circuits on raw share arrays: carries, conversions between bits and ring, truncation. Built on `Protocol` alone."""
