"""Timed pieces of work, one JSON line each."""
