"""Square root and logarithm of secret positive numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from mpc_backend.circuits.truncate import truncate
from mpc_backend.operations.normalise import check_result, leading_bit, magnitude_bits, normaliser, weighted
from mpc_backend.values import SecretFixed
from mpc_backend.values.numbers import SecretNumber

ROOT_FRACTION = 29
LOG_FRACTION = 30


def coefficients(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], domain: tuple[float, float], degree: int
) -> list[float]:
    """Power-basis coefficients of the Chebyshev interpolant of a function on a domain."""
    fitted = Chebyshev.interpolate(function, degree, domain=list(domain))
    return [float(c) for c in fitted.convert(kind=Polynomial).coef]


_INVERSE_ROOT = coefficients(lambda u: 1 / np.sqrt((u + 1.25) / 2), (-0.75, 0.75), 4)
"""1 / sqrt(c) for u = 2 c - 5/4, c in [1/4, 1): relative error 4e-3."""
LOGARITHM = coefficients(lambda u: np.log((u + 3) / 4), (-1.0, 1.0), 9)
"""log(c) for u = 4 c - 3, c in [1/2, 1): absolute error below 1e-8."""


def polynomial(u: SecretFixed, coefficients: list[float]) -> SecretFixed:
    """Horner's rule; one product a degree."""
    value = u * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        value = value * u + coefficient
    return value


def sqrt(x: SecretNumber, scale: int) -> SecretFixed:
    """Square root of x >= 0 with ``scale`` fractional bits; relative error 2^-25, plus 3 * 2^-scale.

    Even powers of two normalise x into [1/4, 1) (Catrina and Saxena, FC 2010); degree 4 start and two Newton steps
    y (3 - c y^2) / 2 for 1 / sqrt (Aly and Smart, ACNS 2019).

    Raises:
        ValueError: the declared width of x is above 62 bits, or leaves no room for the root: half of its bits before the
            point, rounded up, and ``scale`` make more than 61.
    """
    length, own_scale = magnitude_bits(x), x.scale if isinstance(x, SecretFixed) else 0
    check_result("a root", (length - own_scale + 1) // 2, scale, "or declare a narrower width with with_bits")
    protocol, words = x.protocol, x.widened(64).flat
    if own_scale % 2:
        words, length, own_scale = words << np.uint64(1), length + 1, own_scale + 1
    even = length + length % 2
    hot = leading_bit(protocol, words, length)
    powers = [(even - 1 - i) // 2 * 2 for i in range(length)]
    normal = protocol.multiply(words, weighted(hot, [1 << power for power in powers]))
    shift = even - ROOT_FRACTION
    normal = truncate(protocol, normal, shift) if shift > 0 else normal << np.uint64(-shift)
    c = SecretFixed(protocol, normal, ROOT_FRACTION)
    y = polynomial(c * 2 - 1.25, _INVERSE_ROOT)
    for _ in range(2):
        y = y * (3.0 - c * (y * y))
        y = SecretFixed(protocol, truncate(protocol, y.shares, 1), ROOT_FRACTION)
    back = weighted(hot, [1 << (even - power) // 2 for power in powers])
    product = protocol.multiply((c * y).shares, back)
    down = ROOT_FRACTION - scale + own_scale // 2
    shares = truncate(protocol, product, down) if down > 0 else product << np.uint64(-down)
    return SecretFixed(protocol, shares, scale).reshape(x.shape)


def log(x: SecretNumber, scale: int) -> SecretFixed:
    """Natural logarithm of x > 0 with ``scale`` fractional bits; absolute error 2^-25 + 2 * 2^-scale. Undefined for x <= 0.

    x = c 2^e with c in [1/2, 1) (Catrina and Saxena, FC 2010): a polynomial of degree 9 in c, and e log 2 from the places of
    e in binary (Aly and Smart, ACNS 2019).

    Raises:
        ValueError: the declared width of x is above 62 bits, or leaves no room for ``scale`` bits after the point.
    """
    length, own_scale = magnitude_bits(x), x.scale if isinstance(x, SecretFixed) else 0
    largest = math.ceil(max(length - own_scale, own_scale) * math.log(2))
    check_result("a logarithm", largest.bit_length(), scale)
    protocol, words = x.protocol, x.widened(64).flat
    found = normaliser(protocol, words, length)
    normal = protocol.multiply(words, found.power)
    shift = length - LOG_FRACTION
    normal = truncate(protocol, normal, shift) if shift > 0 else normal << np.uint64(-shift)
    inner = polynomial(SecretFixed(protocol, normal, LOG_FRACTION) * 4 - 3.0, LOGARITHM)
    steps = [round(math.log(2) * 2**LOG_FRACTION) << place for place in range(found.places.shape[1])]
    lowered = SecretFixed(protocol, weighted(found.places, steps), LOG_FRACTION)
    total = inner - lowered + (length - own_scale) * math.log(2)
    return total.rescaled(scale).reshape(x.shape)
