"""Inverse, solution, standard errors and quadratic forms of positive definite systems, against numpy."""

from typing import Any

import numpy as np
import pytest

from mpc_backend import operations as op
from mpc_backend.operations import linear
from mpc_backend.testing import World
from mpc_backend.values import SecretFixed, SecretInt
from mpc_backend.values.numbers import SecretNumber

PROTOCOLS = ("plain", "rep3", "rep4")
SCALE = 20


def systems(count: int, p: int, correlation: float, seed: int, spread: float = 5.0) -> np.ndarray:
    """Cross products (count, p, p) of 200 rows of correlated columns of different size, on the grid of SCALE."""
    rng = np.random.default_rng(seed)
    rows = correlation * rng.normal(size=(count, 200, 1))
    rows = rows + np.sqrt(1 - correlation**2) * rng.normal(size=(count, 200, p))
    rows *= rng.uniform(1 / spread, spread, (count, 1, p))
    return np.rint(np.einsum("bni,bnj->bij", rows, rows) * 2**SCALE) / 2**SCALE


def solved(
    protocol: str, matrix: np.ndarray, right: np.ndarray, bound_bits: int, scale: int = 34
) -> list[Any]:
    def program(_: Any, a: Any, b: Any) -> list[Any]:
        found = op.positive_inverse(a)
        return [
            found.solve(b, scale, bound_bits), found.matrix(40, -2), found.errors(36), found.form(b, 24, bound_bits),
            found.deficient,
        ]  # fmt: skip

    with World(protocol) as world:
        given = world.share(matrix, scale=SCALE, bits=38), world.share(right, scale=SCALE, bits=38)
        found: list[Any] = world.run(program, *given)
        return found


@pytest.mark.parametrize(
    ("protocol", "p", "correlation"),
    [("plain", 1, 0.0), ("plain", 3, 0.3), ("plain", 20, 0.3), *((name, 6, 0.5) for name in PROTOCOLS)],
)
def test_well_conditioned_systems_to_about_seven_digits(protocol: str, p: int, correlation: float) -> None:
    matrix = systems(3, p, correlation, p)
    scale = np.sqrt(np.einsum("bii->bi", matrix))
    truth = np.random.default_rng(p).uniform(0.5, 2, (3, p)) / scale
    right = np.rint(np.einsum("bij,bj->bi", matrix, truth) * 2**SCALE) / 2**SCALE
    x, inverse, errors, form, deficient = solved(protocol, matrix, right, 3)
    exact, solution = np.linalg.inv(matrix), np.linalg.solve(matrix, right[:, :, None])[:, :, 0]
    roots = np.sqrt(np.einsum("bii->bi", exact))
    assert not deficient.any()
    np.testing.assert_allclose(x, solution, rtol=4e-7)
    assert np.abs((inverse - exact) / (roots[:, :, None] * roots[:, None, :])).max() < 3e-8
    np.testing.assert_allclose(errors, roots, rtol=1e-7)
    np.testing.assert_allclose(form, np.einsum("bi,bi->b", right, solution), rtol=1e-5)


@pytest.mark.parametrize("protocol", ["plain", "rep3"])
def test_strong_collinearity_and_columns_of_very_different_size(protocol: str) -> None:
    matrix = systems(2, 6, 0.9995, 1, spread=10)
    truth = 20 * np.random.default_rng(3).normal(size=(2, 6)) / np.sqrt(np.einsum("bii->bi", matrix))
    right = np.rint(np.einsum("bij,bj->bi", matrix, truth) * 2**SCALE) / 2**SCALE
    x, _, errors, _, deficient = solved(protocol, matrix, right, 8, scale=30)
    roots = np.sqrt(np.einsum("bii->bi", np.linalg.inv(matrix)))
    inflation = np.einsum("bii->bi", matrix) * roots**2
    assert inflation.max() > 500 and not deficient.any()
    assert np.abs((x - np.linalg.solve(matrix, right[:, :, None])[:, :, 0]) / roots).max() < 1e-5
    np.testing.assert_allclose(errors, roots, rtol=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_has_no_inverse_is_said_and_leaves_its_neighbours_alone(protocol: str) -> None:
    matrix = systems(6, 4, 0.3, 7)
    twice = matrix.copy()
    matrix[1, 2], matrix[1, :, 2] = matrix[1, 0] * 0.5, matrix[1, :, 0] * 0.5  # half of another column
    matrix[1, 2, 2] = twice[1, 0, 0] * 0.25
    matrix[2, 3], matrix[2, :, 3] = 0, 0  # a column of zeros
    matrix[3] = 0
    matrix[4, 2] = matrix[4, 0] + matrix[4, 1]  # the third column is the sum of the first two
    matrix[4, :, 2] = matrix[4, :, 0] + matrix[4, :, 1]
    matrix[4, 2, 2] = matrix[4, 0, 2] + matrix[4, 1, 2]
    x, _, _, _, deficient = solved(protocol, matrix, np.ones((6, 4)), 8)
    assert deficient.tolist() == [False, True, True, True, True, False]
    for good in (0, 5):
        np.testing.assert_allclose(x[good], np.linalg.solve(matrix[good], np.ones(4)), atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_the_tolerance_is_a_share_of_the_unexplained_variance(share: float) -> None:
    left = share * 2.0**-14
    matrix = np.array([[1000.0, 1000.0 * np.sqrt(1 - left)], [1000.0 * np.sqrt(1 - left), 1000.0]])
    assert solved("plain", matrix[None], np.ones((1, 2)), 12)[4].tolist() == [share < 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_comparing_pivots_and_residuals_adds_no_cut(protocol: str) -> None:
    """Words one unit below a limit, at it and above it, which a comparison that cut them first could not tell apart.

    What the sweep and the Newton steps have cut before is not looked at: close to the tolerance the flag may depend on it.
    """
    pivots = np.tile([300, 511, 1], 20)
    diagonal = (pivots << 31) - (1 << 36) + np.repeat([-1, 0, 1], 20)
    residuals = np.zeros((60, 2, 2), np.int64)
    residuals[:, 0, 0], residuals[:, 1, 1] = 1 << 19, np.repeat([0, 1, -1], 20)
    residuals[:20, 0, 0] -= np.arange(20) % 2

    def program(_: Any, pivot: Any, whole: Any, left: Any) -> list[Any]:
        def real(value: Any, scale: int) -> SecretFixed:
            return SecretFixed(value.protocol, value.shares, scale)

        matrix = real(whole.reshape(60, 1, 1), linear.MATRIX_SCALE)
        low = linear._low(matrix, real(pivot.reshape(60, 1), linear.SWEEP_SCALE))
        return [low, linear._loose(real(left, linear.RESIDUAL_SCALES[-1]))]

    with World(protocol) as world:
        low, loose = world.run(program, *(world.share(v) for v in (pivots, diagonal, residuals)))
    assert low[:, 0].tolist() == [False] * 40 + [True] * 20
    assert loose.tolist() == [False] * 20 + [True] * 40


@pytest.mark.parametrize("protocol", ["rep3", "rep4"])
def test_the_residual_that_is_compared_is_cut_exactly(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last unit does not depend on masks: a released flag would tell of them."""
    whole: dict[int, Any] = {}
    residual, loose = linear._residual, linear._loose
    seen: dict[int, list[Any]] = {}

    def noted(matrix: Any, inverse: Any) -> Any:
        found = whole[matrix.protocol.index] = residual(matrix, inverse)
        return found

    def compared(cut: Any) -> Any:
        last = whole[cut.protocol.index]
        seen[cut.protocol.index] = [SecretInt(one.protocol, one.shares, 62) for one in (last, cut)]
        return loose(cut)

    def program(session: Any, a: Any) -> list[Any]:
        op.positive_inverse(a)
        return seen[session.index]

    monkeypatch.setattr(linear, "_residual", noted)
    monkeypatch.setattr(linear, "_loose", compared)
    with World(protocol) as world:
        exact, cut = world.run(program, world.share(systems(20, 3, 0.3, 5), scale=SCALE, bits=38))
    places = linear.MATRIX_SCALE + linear.INVERSE_SCALE - linear.RESIDUAL_SCALES[-1]
    assert np.array_equal(cut, exact >> places)


def test_a_tolerance_broken_by_three_columns_together_is_found() -> None:
    """Each pivot is above the tolerance, the matrix nearly singular: the residual tells."""
    small = 2.0**-6.5
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(200, 5)))[0] * 30
    columns = [basis[:, 0]]
    for place in range(1, 5):
        columns.append((columns[-1] - (columns[-2] if place > 1 else 0)) / (small if place > 1 else 1))
        columns[-1] = columns[-1] / np.linalg.norm(columns[-1]) * 30 + small * basis[:, place]
    rows = np.stack(columns, axis=1)
    assert solved("plain", (rows.T @ rows)[None], np.ones((1, 5)), 12)[4].all()


def test_shapes_are_refused() -> None:
    def program(_: Any, a: Any) -> Any:
        return op.positive_inverse(a).standard

    with World("plain") as world:
        for shape in ((2, 3), (25, 25)):
            with pytest.raises(ValueError, match="square matrix of 1 to 24 columns"):
                world.run(program, world.share(np.ones(shape)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("p", [1, 7])
def test_a_damped_inverse_lies_between_zero_and_the_inverse(protocol: str, p: int) -> None:
    matrix = systems(3, p, 0.4, p)
    if p > 1:  # a direction that the matrix hardly has, and one that it has not
        matrix[1] = systems(1, p, 0.99995, 3)[0]
        matrix[2, 1], matrix[2, :, 1] = 0, 0
    with World(protocol) as world:
        shared = world.share(matrix, scale=SCALE, bits=38)
        found = world.run(lambda _, a: op.damped_inverse(a).matrix(36), shared)
    roots = np.sqrt(np.einsum("bii->bi", matrix)) + (np.einsum("bii->bi", matrix) == 0)
    scale = roots[:, :, None] * roots[:, None, :]
    whole, inverse = matrix / scale, found * scale
    np.testing.assert_allclose(inverse[0], np.linalg.inv(whole[0]), atol=1e-3)
    for one, other in zip(whole, inverse, strict=True):
        share = np.linalg.eigvals(one @ other).real
        assert share.min() > -1e-3 and share.max() < 1 + 1e-3


def test_choosing_walks_through_no_secret_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy would take a secret array for a sequence and index it element by element."""
    taken = []
    keep = SecretNumber.__getitem__
    monkeypatch.setattr(SecretNumber, "__getitem__", lambda self, key: taken.append(key) or keep(self, key))
    with World("plain") as world:
        values = world.share(np.arange(50.0)), world.share(np.arange(50) > 20)
        world.run(lambda _, a, flag: op.select(flag, a, a * 0), *values)
    assert not taken
