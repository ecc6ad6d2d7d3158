"""Quantiles and tails against SciPy, and that a node starts without it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scipy.special import chdtrc, ndtr, ndtri

from mpc_backend.analyses.distributions import chi_square_tail, normal_reach, normal_tail, two_sided, wald_p


@pytest.mark.parametrize("confidence", [0.5001, 0.8, 0.95, 0.99, 1 - 1e-9])
def test_reach_is_the_normal_quantile(confidence: float) -> None:
    assert normal_reach(confidence) == pytest.approx(float(ndtri(0.5 + confidence / 2)), rel=1e-13)


@pytest.mark.parametrize("z", [-9.0, -1.96, 0.0, 1e-9, 1.0, 5.5, 30.0])
def test_tails(z: float) -> None:
    assert normal_tail(z) == pytest.approx(float(ndtr(-z)), rel=1e-12)
    assert two_sided(z) == pytest.approx(float(2 * ndtr(-abs(z))), rel=1e-12)
    assert chi_square_tail(z * z, 3) == pytest.approx(float(chdtrc(3, z * z)), rel=1e-12)


@pytest.mark.parametrize("difference", [0.0, 1.5, -1.5])
def test_no_standard_error_no_test(difference: float) -> None:
    assert wald_p(difference, 0.0) is None
    assert wald_p(difference, 2.0) == two_sided(difference / 2.0)


def test_a_node_starts_without_scipy_pandas_and_lifelines() -> None:
    code = "import sys, mpc_backend.node.serve; print(sorted({'scipy.special', 'pandas', 'lifelines'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
