"""Logistic regression on shares: Newton's method from the model without covariates, a fixed number of steps.

Nothing is opened: coefficients stay shares from step to step, and whether the fit may be used is a secret bit. Matrix
products send one word an output; per row and step there is one sigmoid, and one product an element of the design matrix,
which is not truncated but summed exactly. The first step needs no sigmoid, because all fitted values are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mpc_backend.operations import (
    PositiveInverse,
    concatenate,
    damped_inverse,
    divide,
    log,
    positive_inverse,
    sigmoid,
    sigmoid_and_softplus,
    stack,
)
from mpc_backend.session import Session
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from mpc_backend.values.products import matrix_multiplied, multiplied

STEPS = 9
"""Newton steps by default: effects of three log odds a standard deviation still converge."""
DESIGN_SCALE = 16
"""Of the design matrix, which is used as it is rounded there."""
COARSE_SCALE = 10
"""Of the design matrix in all information matrices but the last: they set the pace, not the solution."""
COEFFICIENT_SCALE = 28
PREDICTOR_SCALE = 24
FITTED_SCALE = 26
INFORMATION_SCALE = 24
LIKELIHOOD_SCALE = 20
MOMENT_BITS = 4
"""The mean square of a design column, weights included, lies below 2^MOMENT_BITS: standardise covariates."""
LARGEST_STEP = 1e-6
"""Of the square of the last Newton step in standard errors; beyond it the fit has not converged or the data are separated."""
LARGEST_COEFFICIENT = 10.0
"""Log odds a unit of a design column beyond which the data count as separated."""


@dataclass(frozen=True)
class LogisticFit:
    """A fit of n rows and p columns, the constant first; all of it means something only where ``estimable`` () holds.

    ``coefficients`` (p,): log odds. ``information``: the inverse of X'WX, for covariances, errors and Wald tests.
    ``fitted`` (n,): probabilities. ``log_likelihood`` () and that of the constant alone, if asked for.
    """

    coefficients: SecretFixed
    information: PositiveInverse
    fitted: SecretFixed
    estimable: SecretBits
    log_likelihood: SecretFixed | None = None
    null_log_likelihood: SecretFixed | None = None

    def covariance(self, scale: int = 40) -> SecretFixed:
        """(p, p), every variance below 16."""
        return self.information.matrix(scale, largest_bits=4)


def fit_logistic(
    session: Session,
    design: SecretFixed,
    outcome: SecretInt | SecretBits,
    *,
    weights: SecretFixed | None = None,
    valid: SecretBits | None = None,
    steps: int = STEPS,
    likelihood: bool = False,
) -> LogisticFit:
    """Maximum likelihood of P(outcome = 1) = 1 / (1 + exp(-design b)).

    ``design`` (n, p): column 0 is the constant, 1 in every row that counts; covariates about centred and scaled, mean
    square below 16, no element beyond 64. ``outcome`` (n,): 0 or 1. Rows that do not count are zero in both; or name
    the others in ``valid`` (n,), which costs a product an element. ``weights`` (n,): of rows, about 1 on average. ``steps``
    is public. About 46 rounds a column and 170 a step.

    Raises:
        ValueError: more than 2^24 rows, or fewer than two steps.
    """
    if design.shape[0] > 1 << 24 or steps < 2:
        raise ValueError(
            f"at most 2^24 rows and at least two steps, found {design.shape[0]} rows, {steps} steps"
        )
    task = _Task.of(design, outcome, weights, valid)
    coefficients = task.first()
    for number in range(1, steps - 1):
        session.progress("logistic regression", number / steps)
        fitted = sigmoid(task.predictor(coefficients), FITTED_SCALE)
        inverse = damped_inverse(task.information(fitted, precise=False))
        coefficients = coefficients + inverse.solve(task.score(fitted), COEFFICIENT_SCALE, task.step_bits)
    return _last_step(task, coefficients, likelihood)


def _last_step(task: _Task, coefficients: SecretFixed, likelihood: bool) -> LogisticFit:
    """The step whose size tells whether the others have arrived, with the exact information matrix."""
    predictor, heights = task.predictor(coefficients), None
    if likelihood:
        fitted, softplus = sigmoid_and_softplus(predictor, FITTED_SCALE)
        heights = task.log_likelihood(predictor, softplus), task.null_log_likelihood()
    else:
        fitted = sigmoid(predictor, FITTED_SCALE)
    score, information = task.score(fitted), positive_inverse(task.information(fitted, precise=True))
    coefficients = coefficients + information.solve(score, COEFFICIENT_SCALE, task.step_bits)
    size = information.form(score, COEFFICIENT_SCALE, task.step_bits)
    estimable = task.regular(coefficients, size) & ~information.deficient
    return LogisticFit(coefficients, information, fitted, estimable, *(heights or (None, None)))


@dataclass(frozen=True)
class _Task:
    """The data in the forms that the steps need: the ``design`` (n, p), and (p, n), as products over persons read it: ``rows``
    the design, ``left`` the design times the weights, both of them ``coarse`` too.
    """

    design: SecretFixed
    rows: SecretFixed
    left: SecretFixed
    outcome: SecretInt
    coarse: SecretFixed
    coarse_left: SecretFixed
    crossed: SecretFixed
    weights: SecretFixed | None

    @staticmethod
    def of(
        design: SecretFixed,
        outcome: SecretInt | SecretBits,
        weights: SecretFixed | None,
        valid: SecretBits | None,
    ) -> _Task:
        y = outcome.to_int() if isinstance(outcome, SecretBits) else outcome.widen(64)
        x = _rounded(design, DESIGN_SCALE)
        if valid is not None:
            kept = valid.to_int()
            x, y = x * kept[:, None], (y * kept).with_bits(2)
        x = x.with_bits(DESIGN_SCALE + 7)
        left = x
        if weights is not None:
            words = multiplied(x, weights[:, None])
            fine = max(DESIGN_SCALE, min(22, 33 - _places(len(x))))
            left = _rounded(SecretFixed(x.protocol, words, x.scale + weights.scale), fine)
        rows = _contiguous(x.T)
        left = rows if weights is None else _contiguous(left.T)
        coarse = _rounded(rows, COARSE_SCALE)
        coarse_left = coarse if weights is None else _rounded(left, COARSE_SCALE)
        both = concatenate([rows, y.to_fixed(DESIGN_SCALE)[None]])
        crossed = SecretFixed(x.protocol, matrix_multiplied(left, both.T), left.scale + DESIGN_SCALE)
        return _Task(x, rows, left, y, coarse, coarse_left, crossed, weights)

    @property
    def _rows_bits(self) -> int:
        return _places(len(self.design))

    @property
    def step_bits(self) -> int:
        """A step in standard errors, and its parts: below the root of the rows times a margin for collinearity."""
        return min(18, self._rows_bits // 2 + 6)

    def first(self) -> SecretFixed:
        """The first step from the coefficients of the constant alone: a linear regression."""
        p = self.design.shape[1]
        counts = self._counts()
        odds = log(counts, COEFFICIENT_SCALE)
        constant = np.eye(1, p, dtype=np.int64)[0]
        start: SecretFixed = (odds[0] - odds[1]).reshape(1).broadcast_to((p,)) * constant
        rate = divide(counts[:1], counts.sum(0).reshape(1).with_bits(counts.bits), 30, quotient_bits=1)
        spread = (rate * (1.0 - rate)).with_bits(30)
        inner = self.crossed[:, :p].rescaled(12)  # below 2^40, as both factors set no more than the pace
        information = self._bounded((inner * spread.rescaled(22).reshape(1, 1)).rescaled(INFORMATION_SCALE))
        expected = inner[:, 0] * rate.rescaled(22)
        residual = self.crossed[:, p].rescaled(INFORMATION_SCALE) - expected.rescaled(INFORMATION_SCALE)
        return start + damped_inverse(information).solve(residual, COEFFICIENT_SCALE, self.step_bits)

    def _counts(self) -> SecretFixed:
        """The weights of rows with and without the outcome (2,)."""
        ones = self.crossed[0, -1]
        both = stack([ones, self.crossed[0, 0] - ones]).rescaled(INFORMATION_SCALE)
        return both.with_bits(self._rows_bits + MOMENT_BITS + INFORMATION_SCALE)

    def predictor(self, coefficients: SecretFixed) -> SecretFixed:
        """X b (n,)."""
        words = matrix_multiplied(self.design, coefficients)
        return SecretFixed(self.design.protocol, words, DESIGN_SCALE + COEFFICIENT_SCALE).rescaled(
            PREDICTOR_SCALE
        )

    def score(self, fitted: SecretFixed) -> SecretFixed:
        """X'(y - p) (p,): below rows 2^(MOMENT_BITS / 2), so that this many places fit."""
        places = min(FITTED_SCALE, 61 - self.left.scale - self._rows_bits - MOMENT_BITS // 2)
        residual = self.outcome.to_fixed(places) - fitted.rescaled(places)
        words = matrix_multiplied(self.left, residual)
        return SecretFixed(self.design.protocol, words, self.left.scale + places)

    def information(self, fitted: SecretFixed, *, precise: bool) -> SecretFixed:
        """X'WX (p, p), W = p (1 - p), below rows 2^(MOMENT_BITS - 2)."""
        protocol, room = fitted.protocol, 61 - self._rows_bits - MOMENT_BITS + 2
        spread = SecretFixed(protocol, multiplied(fitted, 1.0 - fitted), 2 * FITTED_SCALE)
        if precise:
            right = self.rows * spread.rescaled(FITTED_SCALE).with_bits(FITTED_SCALE)[None]
            right = right.rescaled(min(room - self.left.scale, FITTED_SCALE))
            words = matrix_multiplied(self.left, right.T)
            found = SecretFixed(protocol, words, self.left.scale + right.scale)
        else:
            rough = spread.rescaled(min(room - 2 * COARSE_SCALE, FITTED_SCALE))
            raw = SecretInt(protocol, multiplied(self.coarse, rough[None]), 63)
            words = matrix_multiplied(SecretInt(protocol, self.coarse_left.shares, 63), raw.T)
            found = SecretFixed(protocol, words, 2 * COARSE_SCALE + rough.scale)
        return self._bounded(found.rescaled(INFORMATION_SCALE))

    def _bounded(self, found: SecretFixed) -> SecretFixed:
        return found.with_bits(self._rows_bits + MOMENT_BITS - 1 + INFORMATION_SCALE)

    def log_likelihood(self, predictor: SecretFixed, softplus: SecretFixed) -> SecretFixed:
        """The sum of y x'b - log(1 + e^(x'b)) over the rows that count (); a padded row's log 2 is taken off."""
        terms = predictor.rescaled(FITTED_SCALE) * self.outcome - softplus
        if self.weights is not None:
            return (terms * self.left[0]).sum(0).rescaled(LIKELIHOOD_SCALE)
        padded, places = len(terms) - self.design[:, 0].sum(0), min(26, 45 - self._rows_bits)
        words = padded.shares * np.uint64(round(math.log(2) * 2**places))
        extra = SecretFixed(padded.protocol, words, DESIGN_SCALE + places)
        return terms.sum(0).rescaled(LIKELIHOOD_SCALE) + extra.rescaled(LIKELIHOOD_SCALE)

    def null_log_likelihood(self) -> SecretFixed:
        """n1 log(n1 / n) + n0 log(n0 / n) ()."""
        counts = self._counts()
        logs = log(concatenate([counts, counts.sum(0).reshape(1)]).with_bits(counts.bits + 1), 26)
        terms = counts.rescaled(61 - 30 - self._rows_bits - MOMENT_BITS) * (
            logs[:2] - logs[2:].broadcast_to((2,))
        )
        return terms.rescaled(LIKELIHOOD_SCALE).sum(0)

    def regular(self, coefficients: SecretFixed, size: SecretFixed) -> SecretBits:
        """Whether the fit has converged, both outcomes occur, and no coefficient is at its limit ()."""
        effects, counts = coefficients[1:], self._counts().rescaled(COEFFICIENT_SCALE)
        far = concatenate([effects - LARGEST_COEFFICIENT, -effects - LARGEST_COEFFICIENT])
        checks = concatenate([far, 0.5 - counts, size.reshape(1) - LARGEST_STEP])
        return (checks < 0).all()


def _rounded(numbers: SecretFixed, scale: int) -> SecretFixed:
    """Numbers to fewer fractional bits. Truncation takes one unit of the last place off on average: given back beforehand,
    what is summed over many rows is not shifted.
    """
    if numbers.scale <= scale:
        return numbers.rescaled(scale)
    return (numbers + 0.75 * 2.0**-scale).rescaled(scale)


def _places(rows: int) -> int:
    """Bits of a number of rows."""
    return max(1, rows - 1).bit_length()


def _contiguous(numbers: SecretFixed) -> SecretFixed:
    """The same numbers side by side in memory: products over them are then read once, not gathered."""
    return numbers.like(np.ascontiguousarray(numbers.shares), numbers.bits)
