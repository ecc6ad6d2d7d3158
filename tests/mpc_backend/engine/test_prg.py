"""Keystreams: the standard's vector, and never the same part twice."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc_backend.prg import Keystream, expand_seed

BYTES = np.dtype(np.uint8)


def test_a_step_is_the_counter_mode_keystream_of_its_number() -> None:
    key = bytes(range(16))
    stream = Keystream(key)
    stream.begin(7)
    drawn = stream.words(5, BYTES).tobytes() + stream.words(100, BYTES).tobytes()
    counter = (7).to_bytes(8, "big") + bytes(8)
    expected = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(105))
    assert drawn == expected


def test_the_block_cipher_is_aes_of_fips_197() -> None:
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    stream = Keystream(key)
    stream.begin(0x0011223344556677)
    block = stream.words(16, BYTES).tobytes()
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    assert block == ecb.update(bytes.fromhex("00112233445566770000000000000000"))


@pytest.mark.parametrize("step", [0, 3, 4])
def test_a_step_never_comes_again(step: int) -> None:
    stream = Keystream(bytes(16))
    stream.begin(4)
    with pytest.raises(ValueError, match="not after"):
        stream.begin(step)


def test_nothing_is_drawn_outside_a_step() -> None:
    with pytest.raises(ValueError, match="within a step"):
        Keystream(bytes(16)).words(1, BYTES)


def test_seeds_and_keys_of_the_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Keystream(bytes(15))
    with pytest.raises(ValueError, match="32 bytes"):
        expand_seed(bytes(16), 4, BYTES)
