"""Random streams: a chip is a name, not a moment.

Every random number of a chip comes from a counter-based Philox stream keyed by
(seed, chip index, array name, noise source). Nothing else enters: not the batch size, the number
of threads, the order of the calls or the machine.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["CountedDraw", "Draw", "stream"]


def stream(seed: int, chip: int, *names: str) -> np.random.Generator:
    """The generator of one (seed, chip, names…).

    Args:
        seed: Non-negative seed of the population of chips.
        chip: Non-negative index of the chip.
        names: What the numbers are for, such as the array's name and the noise source's.

    Returns:
        A fresh `numpy.random.Generator` over Philox-4x64-10 (Salmon et al., SC 2011); the same
        arguments give the same numbers on every machine.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, chip, *names)))


def _sequence(seed: int, chip: int, *names: str) -> np.random.SeedSequence:
    key: list[int] = [chip]
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        key.extend(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.SeedSequence(seed, spawn_key=key)


class Draw:
    """Standard draws from one stream, for noise sources.

    Noise sources ask for standard normals and uniforms and scale them themselves, so that a sweep
    over sigma reuses a chip's numbers (common random numbers). Any object with these two methods
    serves, such as one over torch.
    """

    def __init__(self, seed: int, chip: int, *names: str) -> None:
        self._generator = stream(seed, chip, *names)

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normals of the given shape, float32."""
        return self._generator.standard_normal(shape, dtype=np.float32)

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniforms in [0, 1) of the given shape, whole multiples of 2^-53.

        Not float32, whose steps of 2^-24 would make a failure rate of 1e-9 sixty times too large.
        """
        return self._generator.random(shape)


class CountedDraw:
    """Numbers that are found by number, in any order: for noise that is fresh every time.

    The key of the Philox stream is that of `stream` for the same arguments; the three higher words
    of its counter are the number.
    """

    def __init__(self, seed: int, chip: int, *names: str) -> None:
        self._key = _sequence(seed, chip, *names).generate_state(2, np.uint64)

    def normal(self, counter: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normals number `counter`, float32."""
        bits = np.random.Philox(key=self._key, counter=[0, *counter])
        return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)

    def blocks(self, counter: tuple[int, int, int], first: int, count: int) -> NDArray[np.uint64]:
        """Blocks `first` … `first + count - 1` of random bits number `counter`.

        Returns:
            Little-endian words of shape (count, 4): block after block, whatever is asked for with
            it, so numbers that live in blocks of their own do not depend on how they are batched.
        """
        bits = np.random.Philox(key=self._key, counter=[first, *counter])
        words: NDArray[np.uint64] = bits.random_raw(4 * count).astype("<u8", copy=False)
        return words.reshape(count, 4)
