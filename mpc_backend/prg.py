"""Shared randomness: AES-128 in counter mode, one keystream per key, moving forward only.

The counter block is step(64) || block(64), big-endian (NIST SP 800-38A, appendix B). A step is one protocol operation; all
nodes execute the same steps, so holders of a key draw the same bytes. A step number may only grow: no part of a
keystream is ever produced twice under one key, and keys live for one job.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc_backend.kernels.arrays import Words, WordType

KEY_BYTES = 16
BLOCK_LIMIT = 1 << 32
"""Blocks of one step (64 GiB), far below the birthday bound of a 128-bit block for one key."""
_ZEROS = memoryview(bytes(1 << 20))


class Keystream:
    """One AES-128-CTR keystream; `begin` enters a step, `fill` and `words` draw from it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a keystream key has {KEY_BYTES} bytes, found {len(key)}")
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._step = 0
        self._drawn = 0

    def begin(self, step: int) -> None:
        """Enter a step; raises ValueError unless it is greater than every earlier one."""
        if step <= self._step:
            raise ValueError(f"keystream step {step} is not after step {self._step}")
        self._step, self._drawn = step, 0
        self._cipher.reset_nonce(step.to_bytes(8, "big") + bytes(8))

    def fill(self, out: Words) -> None:
        """Overwrite a contiguous array with the next bytes of this step."""
        if self._step == 0:
            raise ValueError("a keystream is drawn from within a step")
        self._drawn += out.nbytes
        if self._drawn > 16 * BLOCK_LIMIT:
            raise ValueError(f"step {self._step} draws more than {BLOCK_LIMIT} blocks")
        target = out.reshape(-1).data.cast("B")
        if out.nbytes <= len(_ZEROS):
            self._cipher.update_into(_ZEROS[: out.nbytes], target)
            return
        for start in range(0, len(target), len(_ZEROS)):
            piece = target[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: len(piece)], piece)

    def words(self, shape: int | tuple[int, ...], dtype: WordType) -> Words:
        """A fresh array of the next words of this step."""
        out = np.empty(shape, dtype)
        self.fill(out)
        return out


def expand_seed(seed: bytes, count: int, dtype: WordType) -> Words:
    """The share that a 32-byte seed stands for: AES-256-CTR keystream from counter 0, little-endian words.

    A seed is drawn fresh for one column of one upload and never used for another.
    """
    if len(seed) != 32:
        raise ValueError(f"a seed has 32 bytes, found {len(seed)}")
    cipher = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(cipher.update(bytes(count * dtype.itemsize)), dtype).copy()
