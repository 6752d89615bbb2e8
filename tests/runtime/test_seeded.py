"""Seeded inputs: sizes that are assumed are said."""

import numpy as np
import pytest

from nvmc.compiled.artifact import TensorEntry
from nvmc.errors import DataError
from nvmc.runtime.seeded import seeded_inputs, seeded_text


def entry(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorEntry:
    return TensorEntry(name=name, dtype=dtype, shape=list(shape))


def sizes(*inputs: TensorEntry) -> list[tuple[int, ...]]:
    return [array.shape for array in seeded_inputs(inputs, 2, 0).values()]


def test_fixed_sizes_need_no_word() -> None:
    image = entry("x", "N", 1, 28, 28)
    assert sizes(image) == [(2, 1, 28, 28)] and seeded_text([image]) == "seeded inputs"


def test_tokens() -> None:
    """Axes of one name have one size."""
    ids, mask = (entry(name, "N", "seq", dtype="int64") for name in ("input_ids", "mask"))
    assert sizes(ids, mask) == [(2, 128), (2, 128)]
    assert seeded_text([ids, mask]) == (
        "seeded inputs: input_ids 128 zeros and ones, mask 128 zeros and ones; seq=128 assumed, "
        "--data, or --shape of nvmc compile, says otherwise"
    )
    assert set(np.unique(seeded_inputs([ids], 4, 0)["input_ids"])) == {0, 1}


def test_images() -> None:
    assert sizes(entry("x", None, None, "H", "W")) == [(2, 3, 224, 224)]
    assert sizes(entry("x", None, "H", "W", 3)) == [(2, 224, 224, 3)]
    assert sizes(entry("x", None, 1, None, None)) == [(2, 1, 224, 224)]
    told = seeded_text([entry("x", None, 1, None, None)])
    assert "x 1x224x224; x axis 2=224, x axis 3=224 assumed" in told


def test_an_input_that_is_none_of_images() -> None:
    with pytest.raises(DataError, match=r"nvmc compile --input sr=VALUE"):
        seeded_inputs([entry("sr", dtype="int64")], 2, 0)
