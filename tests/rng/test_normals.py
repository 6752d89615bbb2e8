"""Compiled normals are NumPy's, bit for bit, and a stream may change hands at any point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvmc.rng import CountedDraw, Draw, _normals, streams

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4)


def both(state: dict[str, Any], count: int) -> tuple[np.ndarray, np.ndarray, Any, Any]:
    """Normals and the state after them, by NumPy and by compiled code."""
    bits = np.random.Philox(0)
    bits.state = state
    expected = np.random.Generator(bits).standard_normal(count, dtype=np.float32)
    found = np.empty(count, np.float32)
    return expected, found, bits.state, _normals.standard_normal(state, found)


def check(state: dict[str, Any], count: int) -> None:
    expected, found, after, ours = both(state, count)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))
    bits = np.random.Philox(0)
    bits.state = ours
    again = np.random.Philox(0)
    again.state = after
    # words of 32 bits tell whether half a word is left over
    draws = [
        np.random.Generator(b).integers(2**32, size=11, dtype=np.uint32) for b in (bits, again)
    ]
    assert np.array_equal(*draws)


@pytest.mark.parametrize("seed", range(3))
def test_many_normals(seed: int) -> None:
    """Four million take every branch of all 256 layers: the rarest, the tail, a thousand times."""
    check(dict(np.random.Philox(seed).state), 1 << 22)


@given(counter=WORDS, buffer=WORDS, key=WORDS, count=st.integers(0, 3000), data=st.data())
def test_any_state(counter: list[int], buffer: list[int], key: list[int], count: int, data: Any):
    """From the middle of a word, of a block, and across the counter's carries."""
    high = data.draw(st.booleans())
    state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([2**64 - 2, 2**64 - 1, 7, 0] if high else counter, np.uint64),
            "key": np.array(key[:2], np.uint64),
        },
        "buffer": np.array(buffer, np.uint64),
        "buffer_pos": data.draw(st.integers(0, 4)),
        "has_uint32": data.draw(st.integers(0, 1)),
        "uinteger": data.draw(st.integers(0, 2**32 - 1)),
    }
    if state["buffer_pos"] < 4:  # the rest of a block that was made
        block = np.random.Philox(counter=0, key=0)
        block.state = state | {"buffer_pos": 4, "has_uint32": 0}
        block.random_raw(1)
        state["state"]["counter"] = block.state["state"]["counter"]
        state["buffer"] = block.state["buffer"]
    check(state, count)


def test_the_edges_of_every_layer() -> None:
    for layer in range(256):
        check_edges(layer)


def check_edges(layer: int) -> None:
    """The places about the end of the fast path, and the heights about the curve."""
    fresh: dict[str, Any] = dict(np.random.Philox(layer).state)
    edge = _first_beyond(layer, fresh)
    for place in (0, edge - 1, edge, edge + 1, (edge + 2**23) // 2, 2**23 - 1):
        for sign in (0, 1):
            word = (max(0, min(place, 2**23 - 1)) << 9) | (sign << 8) | layer
            check(fresh | {"has_uint32": 1, "uinteger": word}, 1)


def _first_beyond(layer: int, fresh: dict[str, Any]) -> int:
    """The first place of a layer whose normal takes more than one word, by bisection in NumPy."""
    low, high = 0, 2**23 - 1
    while low < high:
        middle = (low + high) // 2
        bits = np.random.Philox(0)
        bits.state = fresh | {"has_uint32": 1, "uinteger": (middle << 9) | layer}
        np.random.Generator(bits).standard_normal(dtype=np.float32)
        if bits.state["buffer_pos"] == 4:
            low = middle + 1
        else:
            high = middle
    return low


def test_without_compiled_code_numpy_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> list[np.ndarray]:
        draw, counted = Draw(1, 2, "a"), CountedDraw(1, 2, "a")
        pieces = [draw.normal((3, 5)), draw.uniform((4,)), draw.normal((7,)), draw.uniform((1,))]
        return [*pieces, counted.normal((1, 2, 3), (40,))]

    compiled = drawn()
    monkeypatch.setattr(streams, "_normals", None)
    for ours, theirs in zip(compiled, drawn(), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_what_is_no_state_is_refused() -> None:
    state: dict[str, Any] = dict(np.random.Philox(0).state)
    with pytest.raises(ValueError):
        _normals.standard_normal(state | {"buffer_pos": 5}, np.empty(1, np.float32))
    with pytest.raises(TypeError):
        _normals.standard_normal(state, np.empty(1, np.float64))
