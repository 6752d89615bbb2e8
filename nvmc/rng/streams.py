"""Streams over Philox, their normals by compiled code where it is built."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from nvmc.rng import _normals
except ImportError:  # not built: NumPy draws the same bits, four times as slowly
    _normals = None

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
    """`SeedSequence(seed, spawn_key=(chip, *words of the names))`, in a fourth of its time.

    NumPy would make an array of every number of the key; it takes the joined words, the seed's
    filled up to its pool of four, as they are.
    """
    joined = _words(seed, 4) + _words(chip, 1) + b"".join(map(_digest, names))
    return np.random.SeedSequence(np.frombuffer(joined, "<u4").astype(np.uint32, copy=False))


def _words(number: int, least: int) -> bytes:
    """A number of at least 0 in words of 32 bits, the lowest first."""
    number = int(number)  # NumPy's numbers have no such methods
    return number.to_bytes(4 * max(least, -(-number.bit_length() // 32)), "little")


@lru_cache(4096)
def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def _fresh(key: NDArray[Any], counter: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Any]:
    """The state of `np.random.Philox(key=key, counter=[0, *counter])`."""
    return {
        "bit_generator": "Philox",
        "state": {"counter": np.array([0, *counter], np.uint64), "key": key},
        "buffer": np.zeros(4, np.uint64),
        "buffer_pos": 4,
        "has_uint32": 0,
        "uinteger": 0,
    }


def _at(state: dict[str, Any]) -> np.random.Philox:
    """NumPy's generator in that state."""
    bits: Any = np.random.Philox(key=0)
    bits.state = state
    return bits


def _normal(state: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """Float32 standard normals from `state`, and the state after."""
    if _normals is not None:
        found = np.empty(shape, np.float32)
        return found, _normals.standard_normal(state, found)
    bits = _at(state)
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32), dict(bits.state)


class Draw:
    """Standard draws from one stream, for noise sources.

    Noise sources ask for standard normals and uniforms and scale them themselves, so that a sweep
    over sigma reuses a chip's numbers (common random numbers). Any object with these two methods
    serves, such as one over torch.
    """

    def __init__(self, seed: int, chip: int, *names: str) -> None:
        self._state = _fresh(_sequence(seed, chip, *names).generate_state(2, np.uint64))

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normals of the given shape, float32."""
        found, self._state = _normal(self._state, shape)
        return found

    def summed(
        self,
        levels: NDArray[np.float32],
        spread: float | NDArray[np.float32],
        coefficients: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """The sum over planes p of c_p (levels_p + spread_p z_p), with z from `normal`.

        Cost: about 4 ns a number, most of it for z.

        Args:
            levels: Shape (planes, *shape), in C order.
            spread: Of the shape of `levels`, or one number.
            coefficients: c, shape (planes,).

        Returns:
            A new array of `shape`: each operation is rounded to float32, planes are added in turn.
        """
        if _normals is None:
            moved = levels + spread * self.normal(levels.shape)
            total = moved[0] * coefficients[0]
            for plane, coefficient in zip(moved[1:], coefficients[1:], strict=True):
                total += plane * coefficient
            return total
        found = np.empty(levels.shape[1:], np.float32)
        spread = np.asarray(spread, np.float32)
        self._state = _normals.sum_of_planes(self._state, levels, spread, coefficients, found)
        return found

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniforms in [0, 1) of the given shape, whole multiples of 2^-53.

        Not float32, whose steps of 2^-24 would make a failure rate of 1e-9 sixty times too large.
        """
        bits = _at(self._state)
        found = np.random.Generator(bits).random(shape)
        self._state = dict(bits.state)
        return found


class CountedDraw:
    """Numbers that are found by number, in any order: for noise that is fresh every time.

    The key of the Philox stream is that of `stream` for the same arguments; the three higher words
    of its counter are the number.
    """

    def __init__(self, seed: int, chip: int, *names: str) -> None:
        self._key = _sequence(seed, chip, *names).generate_state(2, np.uint64)

    @property
    def key(self) -> tuple[int, int]:
        """The two words of the stream's key."""
        first, second = self._key.tolist()
        return first, second

    def normal(self, counter: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Standard normals number `counter`, float32."""
        return _normal(_fresh(self._key, counter), shape)[0]

    def uniform(self, counter: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Uniforms in [0, 1) number `counter`, float32, whole multiples of 2^-24."""
        bits = _at(_fresh(self._key, counter))
        return np.random.Generator(bits).random(shape, dtype=np.float32)

    def blocks(self, counter: tuple[int, int, int], first: int, count: int) -> NDArray[np.uint64]:
        """Blocks `first` … `first + count - 1` of random bits number `counter`.

        Returns:
            Little-endian words of shape (count, 4): block after block, whatever is asked for with
            it, so numbers that live in blocks of their own do not depend on how they are batched.
        """
        bits = np.random.Philox(key=self._key, counter=[first, *counter])
        words: NDArray[np.uint64] = bits.random_raw(4 * count).astype("<u8", copy=False)
        return words.reshape(count, 4)
