"""What is attacked: every public operation, every method of a secret value that sends messages, and what a session does.

`OPERATIONS` has the names of `mpc_backend.operations.__all__`, `METHODS` those of the secret values' methods but for those in
`FREE`, which send nothing. Tests compare these with the code, so that whatever is added is attacked, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mpc_backend import operations as op
from mpc_backend.operations.linear import INVERSE_SCALE
from mpc_backend.protocols.base import JointInput
from mpc_backend.session import Session, open_values
from mpc_backend.testing import Shared
from mpc_backend.values import SecretBits, SecretFixed, SecretInt
from tests.mpc_backend.tampering.agreement import Agreement
from tests.mpc_backend.tampering.recorded import Attackable, Job, shared

N = 6
X, Y = np.arange(1, N + 1), np.arange(3, 3 + N)[::-1].copy()
LONG_BITS, LONG_ROWS, BLOCKS = 130, 70, 36_000
"""More truth values than two words hold; more rows than one word of their bits; more than two blocks of words."""


class Inputs:
    """Secret inputs by the names of `given`; integers a and b also in ring 16, as h and k, and b as narrow keys."""

    def __init__(self, session: Session, arrays: dict[str, Shared]) -> None:
        self._session, self._arrays = session, arrays

    def __getattr__(self, name: str) -> Any:
        return self._arrays[name].at(self._session)

    @property
    def h(self) -> Any:
        return self.a.narrow(16)

    @property
    def k(self) -> Any:
        return self.b.narrow(16)

    @property
    def keys(self) -> Any:
        return self.b.with_bits(5)


Case = Callable[[Inputs], Any]
Variants = Case | dict[str, Case]


def given() -> dict[str, Shared]:
    """The inputs, shared the same way every time."""
    arrays: dict[str, dict[str, Any]] = {
        "a": {"array": X, "bits": 8},
        "b": {"array": Y, "bits": 8},
        "c": {"array": X % 2 == 0},
        "f": {"array": X / 8, "scale": 12, "bits": 20},
        "g": {"array": Y / 8, "scale": 12, "bits": 20},
        "matrix": {"array": np.array([[[4.0, 1.0], [1.0, 3.0]]]), "scale": 20, "bits": 30},
        "right": {"array": np.array([[1.0, 2.0]]), "scale": 20, "bits": 30},
        "bits": {"array": np.arange(LONG_BITS) % 3 == 0},
        "rows": {"array": np.arange(LONG_ROWS), "bits": 8},
        "blocks": {"array": np.arange(BLOCKS) % 100, "bits": 8},
    }
    return dict(zip(arrays, shared(list(arrays.values())), strict=True))


def _groups(d: Inputs) -> list[Any]:
    found = op.group_by([d.keys[:3]], [d.a[:3]])
    return [found.keys, found.sums, found.counts, found.valid]


def _positive(d: Inputs) -> list[Any]:
    found = op.positive_inverse(d.matrix[:, :1, :1])
    return [found.standard, found.power, found.deficient]


def _damped(d: Inputs) -> list[Any]:
    found = op.damped_inverse(d.matrix, 1)
    return [found.standard, found.power]


def _inverse(d: Inputs) -> Any:
    """Of a matrix of one element, as `damped_inverse` gives it, from inputs."""
    return op.ScaledInverse(d.f[:1].reshape(1, 1, 1).rescaled(INVERSE_SCALE), d.a[:1].reshape(1, 1), 4)


RESULTS = {"Groups": "group_by", "PositiveInverse": "positive_inverse"}
"""Results without methods of their own, and the operation that gives them."""
OPERATIONS: dict[str, Variants] = {
    "ScaledInverse": {
        "solve": lambda d: _inverse(d).solve(d.right[:, :1], 20),
        "matrix": lambda d: _inverse(d).matrix(20),
        "errors": lambda d: _inverse(d).errors(20),
        "form": lambda d: _inverse(d).form(d.right[:, :1], 20),
    },
    "amax": lambda d: op.amax(d.a[:3]),
    "amin": lambda d: op.amin(d.f[:3]),
    "argmax": lambda d: op.argmax(d.a[:3]),
    "argmin": lambda d: op.argmin(d.f[:3]),
    "concatenate": lambda d: op.concatenate([d.a, d.b]),
    "damped_inverse": _damped,
    "distinct": lambda d: op.distinct([d.keys[:3]]),
    "divide": {
        "integers": lambda d: op.divide(d.a, d.b, 20),
        "reals": lambda d: op.divide(d.f, d.g, 20, quotient_bits=8),
    },
    "dot": {
        "integers": lambda d: op.dot(d.a, d.b),
        "ring 16": lambda d: op.dot(d.h, d.k),
        "reals": lambda d: op.dot(d.f, d.g),
    },
    "exp": lambda d: op.exp(d.a[:2], 10),
    "floor_divide": lambda d: op.floor_divide(d.a, 3),
    "from_bits": lambda d: op.from_bits(d.c.reshape(2, 3)),
    "group_by": _groups,
    "join": lambda d: op.join([d.a[:2].with_bits(5)], [d.keys[:2]], [d.b[:2]]),
    "log": lambda d: op.log(d.a, 20),
    "maximum": lambda d: op.maximum(d.a, d.b),
    "minimum": lambda d: op.minimum(d.f, d.g),
    "popcount": {"integers": lambda d: op.popcount(d.a.with_bits(4)), "truth values": lambda d: op.popcount(d.bits)},
    "positive_inverse": _positive,
    "prefix_product": lambda d: op.prefix_product(d.f),
    "ratio_of_counts": lambda d: op.ratio_of_counts(d.a, d.b, 16),
    "reciprocal": lambda d: op.reciprocal(d.a, 20),
    "segmented_copy": lambda d: op.segmented_copy(d.a, d.c),
    "segmented_cumsum": lambda d: op.segmented_cumsum(d.a, d.c),
    "select": {
        "integers": lambda d: op.select(d.c, d.a, d.b),
        "ring 16": lambda d: op.select(d.c, d.h, d.k),
        "reals": lambda d: op.select(d.c, d.f, d.g),
        "truth values": lambda d: op.select(d.c, d.c[::-1], d.a == 3),
    },
    "shuffle": {"two columns": lambda d: op.shuffle([d.a, d.c]), "three kinds": lambda d: op.shuffle([d.h, d.f, d.c])},
    "sigmoid": lambda d: op.sigmoid(d.a[:2], 10),
    "sigmoid_and_softplus": lambda d: op.sigmoid_and_softplus(d.f[:2], 10),
    "sort": {
        "quicksort": lambda d: op.sort([d.keys], [d.a], method="quicksort"),
        "radix": lambda d: op.sort([d.c], [d.a]),
        "radix, two passes": lambda d: op.sort([d.b.with_bits(4)], [d.f]),
    },
    "sqrt": lambda d: op.sqrt(d.a, 20),
    "stack": lambda d: op.stack([d.f, d.g]),
    "sums_by_code": {
        "integers": lambda d: op.sums_by_code(d.a, 8, [d.b]),
        "reals": lambda d: op.sums_by_code(d.a, 8, [d.f]),
        "two columns": lambda d: op.sums_by_code(d.a, 8, [d.b, d.f]),
        "chunks joined": lambda d: op.sums_by_code(d.a, 64, [d.b]),
    },
    "to_bits": lambda d: op.to_bits(d.a.with_bits(4)),
}  # fmt: skip

METHODS: dict[str, Variants] = {
    "SecretInt.__mul__": {
        "secret": lambda d: d.a * d.b,
        "ring 16": lambda d: d.h * d.k,
        "ring 32": lambda d: d.a.narrow(32) * d.b.narrow(32),
        "one element": lambda d: d.a[0] * d.b[0],
        "several blocks": lambda d: (d.blocks * d.blocks).sum(),
        "truth values": lambda d: d.a * d.c,
        "two steps": lambda d: (d.a * d.b) * d.a,
    },
    "SecretInt.__rmul__": lambda d: d.c * d.a,
    "SecretInt.__matmul__": {
        "vectors": lambda d: d.a @ d.b,
        "matrices": lambda d: d.a.reshape(2, 3) @ d.b.reshape(3, 2),
        "ring 16": lambda d: d.h.reshape(2, 3) @ d.k.reshape(3, 2),
    },
    "SecretInt.__rmatmul__": lambda d: d.a.__rmatmul__(d.b),
    "SecretInt.__add__": lambda d: d.a + d.c,
    "SecretInt.__radd__": lambda d: d.a.__radd__(d.c),
    "SecretInt.__sub__": lambda d: d.a - d.c,
    "SecretInt.__rsub__": lambda d: d.a.__rsub__(d.c),
    "SecretInt.__lt__": {
        "8 bits": lambda d: d.a < d.b,
        "16 bits": lambda d: d.a.with_bits(16) < d.b,
        "32 bits": lambda d: d.a.with_bits(32) < d.b,
        "63 bits": lambda d: d.a.with_bits(63) < d.b.with_bits(63),
        "ring 16": lambda d: d.h < d.k,
        "ring 16, full width": lambda d: d.h.with_bits(16) < d.k.with_bits(16),
        "70 rows": lambda d: d.rows < 35,
    },
    "SecretInt.__gt__": lambda d: d.a > d.b,
    "SecretInt.__le__": lambda d: d.a <= d.b,
    "SecretInt.__ge__": lambda d: d.a >= d.b,
    "SecretInt.__eq__": {"8 bits": lambda d: d.a == d.b, "63 bits": lambda d: d.a.with_bits(63) == d.b},
    "SecretInt.__ne__": lambda d: d.a != d.b,
    "SecretInt.negative": lambda d: (d.a - d.b).negative(9),
    "SecretInt.aligned": lambda d: d.a.aligned(d.c)[1],
    "SecretInt.widen": lambda d: d.h.widen(64),
    "SecretInt.widened": lambda d: d.h.widened(32),
    "SecretInt.to_fixed": lambda d: d.h.to_fixed(4),
    "SecretFixed.__mul__": {
        "reals": lambda d: d.f * d.g, "public": lambda d: d.f * 0.3, "integers": lambda d: d.f * d.a,
        "truth values": lambda d: d.f * d.c,
    },
    "SecretFixed.__rmul__": lambda d: d.a * d.f,
    "SecretFixed.__matmul__": {"vectors": lambda d: d.f @ d.g, "matrices": lambda d: d.f.reshape(2, 3) @ d.a.reshape(3, 2)},
    "SecretFixed.__rmatmul__": lambda d: d.c @ d.f,
    "SecretFixed.__add__": lambda d: d.f + d.c,
    "SecretFixed.__radd__": lambda d: d.f.__radd__(d.c),
    "SecretFixed.__sub__": lambda d: d.f - d.c,
    "SecretFixed.__rsub__": lambda d: d.f.__rsub__(d.c),
    "SecretFixed.__lt__": lambda d: d.f < d.g,
    "SecretFixed.__gt__": lambda d: d.f > d.g,
    "SecretFixed.__le__": lambda d: d.f <= d.g,
    "SecretFixed.__ge__": lambda d: d.f >= d.g,
    "SecretFixed.__eq__": lambda d: d.f == d.g,
    "SecretFixed.__ne__": lambda d: d.f != d.g,
    "SecretFixed.negative": lambda d: (d.f - d.g).negative(21),
    "SecretFixed.aligned": lambda d: d.f.aligned(d.c)[1],
    "SecretFixed.rescaled": lambda d: d.f.rescaled(4),
    "SecretFixed.floor": lambda d: d.f.floor(),
    "SecretFixed.exact_round": lambda d: d.f.exact_round(1),
    "SecretBits.__and__": {"one word": lambda d: d.c & ~d.c[::-1], "three words": lambda d: d.bits & d.bits[::-1]},
    "SecretBits.__rand__": lambda d: d.c.__rand__(d.c[::-1]),
    "SecretBits.__or__": lambda d: d.c | d.c[::-1],
    "SecretBits.__ror__": lambda d: d.c.__ror__(d.c[::-1]),
    "SecretBits.__add__": lambda d: d.c + d.a,
    "SecretBits.__radd__": lambda d: d.c.__radd__(d.a),
    "SecretBits.__sub__": lambda d: d.c - d.a,
    "SecretBits.__rsub__": lambda d: d.c.__rsub__(d.a),
    "SecretBits.__neg__": lambda d: -d.c,
    "SecretBits.__mul__": {"integers": lambda d: d.c * d.a, "truth values": lambda d: d.c * d.c[::-1]},
    "SecretBits.__rmul__": lambda d: 3 * d.c,
    "SecretBits.__matmul__": {"reals": lambda d: d.c @ d.f, "truth values": lambda d: d.c @ d.c[::-1]},
    "SecretBits.__rmatmul__": lambda d: d.c.__rmatmul__(d.a),
    "SecretBits.to_int": {"ring 64": lambda d: d.c.to_int(), "ring 16": lambda d: d.bits.to_int(16)},
    "SecretBits.sum": lambda d: d.bits.sum(),
    "SecretBits.cumsum": lambda d: d.c.cumsum(),
    "SecretBits.all": lambda d: d.c.all(),
    "SecretBits.any": lambda d: d.c.any(),
}  # fmt: skip

SHAPES: dict[str, Callable[[Any], Any]] = {
    "T": lambda v: v.reshape(2, 3).T,
    "__getitem__": lambda v: [v[1:3], v[np.array([2, 0])]],
    "reshape": lambda v: v.reshape(2, 3),
    "ravel": lambda v: v.ravel(),
    "broadcast_to": lambda v: v.broadcast_to((2, N)),
    "repeat": lambda v: v.repeat(2, 0),
    "rearranged": lambda v: v.rearranged(lambda words: words[::-1]),
}
NUMBERS = SHAPES | {
    "__neg__": lambda v: -v, "sum": lambda v: v.sum(), "cumsum": lambda v: v.cumsum(), "with_bits": lambda v: v.with_bits(30),
    "like": lambda v: v.like(v.shares, v.bits),
}  # fmt: skip
FREE: dict[type, dict[str, Callable[[Any], Any]]] = {
    SecretInt: NUMBERS | {"narrow": lambda v: v.narrow(16)},
    SecretFixed: NUMBERS | {"widened": lambda v: v.widened(64)},
    SecretBits: SHAPES
    | {
        "__eq__": lambda v: v == v[::-1], "__ne__": lambda v: v != v[::-1], "__xor__": lambda v: v ^ v[::-1],
        "__rxor__": lambda v: v.__rxor__(v[::-1]), "__invert__": lambda v: ~v,
        "from_unpacked": lambda v: SecretBits.from_unpacked(v.protocol, v.unpacked),
    },
}  # fmt: skip
"""Methods that send nothing: a test counts."""
ABOUT = frozenset({"__bool__", "__init__", "__len__", "__repr__"})
"""Methods that give no secret value."""


def _halves(session: Session, d: Inputs) -> Any:
    """A value brought in anew as the sum of its halves."""
    protocol = session.protocol
    known = protocol.halves(d.a.shares, xor=False).known
    [whole] = protocol.joint_input([JointInput(known, xor=False)])
    return SecretInt(protocol, whole, d.a.bits)


def _zeros(session: Session, d: Inputs) -> Any:
    return SecretInt(session.protocol, d.a.shares + session.protocol.zeros((N,), d.a.dtype, xor=False), 8)


def _exported(session: Session, d: Inputs) -> None:
    session.export_shares({"product": d.a * d.b, "flags": d.c & d.c[::-1], "input": d.f})


def _opened_between(session: Session, d: Inputs) -> Any:
    [total] = open_values(session, [(d.a * d.b).sum()], "total")
    return d.a * d.b + int(total)


SESSIONS: dict[str, Callable[[Session, Inputs], Any]] = {
    "open, integers": lambda _, d: d.a,
    "open, ring 16": lambda _, d: d.h,
    "open, truth values": lambda _, d: d.bits,
    "open, several": lambda _, d: [d.a, d.h, d.f, d.c],
    "open, and go on": _opened_between,
    "open, public": lambda session, d: session.public([1, 2]) * d.a[:2],
    "joint input": _halves,
    "shares of zero": _zeros,
    "export": _exported,
}


def jobs() -> dict[str, Callable[[], Attackable]]:
    """Everything that is attacked, by name."""
    inputs = given()
    found: dict[str, Callable[[], Attackable]] = {"key agreement": Agreement}
    found |= {name: _job(case, inputs) for name, case in SESSIONS.items()}
    for name, variants in [*METHODS.items(), *OPERATIONS.items()]:
        for variant, case in (variants if isinstance(variants, dict) else {"": variants}).items():
            found[f"{name}, {variant}" if variant else name] = _job(_without_session(case), inputs)
    return found


def free() -> Job:
    """All methods in `FREE`, one after the other."""
    of = {SecretInt: "a", SecretFixed: "f", SecretBits: "c"}

    def case(_: Session, d: Inputs) -> list[Any]:
        return [method(getattr(d, of[kind])) for kind, methods in FREE.items() for method in methods.values()]

    return _job(case, given())()


def _without_session(case: Case) -> Callable[[Session, Inputs], Any]:
    return lambda _, d: case(d)


def _job(case: Callable[[Session, Inputs], Any], inputs: dict[str, Shared]) -> Callable[[], Job]:
    return lambda: Job(lambda session: case(session, Inputs(session, inputs)))
