"""One small and one full population, drawn once for all tests of the demonstration."""

from __future__ import annotations

import pytest

from workbench.demo.population import Population, make_population


@pytest.fixture(scope="session")
def small() -> Population:
    """2,000 ranking patients and the smallest diabetes population."""
    return make_population(2_000, seed=7)


@pytest.fixture(scope="session")
def full() -> Population:
    """The population `tessera demo` uses."""
    return make_population()
