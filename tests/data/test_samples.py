"""Data sets of one's own: pairs of arrays, samples, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nvmc.data import load_data
from nvmc.errors import DataError

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])


class Samples:
    """As a torch Dataset: a length and items."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        if index >= len(X):
            raise AssertionError("read behind the end")
        return X[index], int(Y[index])


class Batches:
    """As a torch DataLoader: batches, as often as they are asked for."""

    def __iter__(self) -> Iterator[Any]:
        yield X[:4], Y[:4]
        yield X[4:], Y[4:]


FORMS: dict[str, Any] = {
    "a tuple": (X, Y),
    "a list of two": [X.tolist(), Y.tolist()],
    "samples": Samples(),
    "a list of samples": list(zip(X, Y, strict=True)),
    "batches": Batches(),
}


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_are_the_same_data(name: str) -> None:
    found = load_data(FORMS[name])
    assert np.array_equal(found.x, X) and found.y is not None and np.array_equal(found.y, Y)
    assert found.sha256 == load_data((X, Y)).sha256
    assert len(load_data(FORMS[name], limit=3).x) == 3


def test_several_inputs_are_a_mapping() -> None:
    assert load_data((X, Y)).name == "your data"
    found = load_data({"ids": X, "mask": X[:, :2], "y": Y})
    assert list(found.inputs) == ["ids", "mask"] and found.y is not None
    assert np.array_equal(found.inputs["mask"], X[:, :2])


def test_an_iterable_of_samples() -> None:
    class Endless:
        def __iter__(self) -> Iterator[Any]:
            return iter([(X[index], Y[index]) for index in range(len(X))])

    found = load_data(Endless(), limit=4)  # type: ignore[arg-type]
    assert np.array_equal(found.x, X[:4])


def test_two_samples_are_no_pair_of_arrays() -> None:
    found = load_data([(X[0], 1), (X[1], 2)])
    assert np.array_equal(found.x, X[:2]) and found.y is not None and found.y.tolist() == [1, 2]


def test_torch_has_them_all() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(Y)
    pairs = torch.utils.data.TensorDataset(x.detach(), y)
    loader = torch.utils.data.DataLoader(pairs, batch_size=4)
    for data in ((x, y), pairs, loader):
        found = load_data(data)
        assert np.array_equal(found.x, X) and found.y is not None and np.array_equal(found.y, Y)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "no samples"),
        ([1, 2, 3], "expected a pair"),
        ([(X[0], 1), (X[1, :2], 2), (X[2], 1)], "make all of one shape"),
        ([(object(), 1)] * 3, "expected numbers"),
        ((X, Y, Y), "expected a pair"),
        (iter([(X, Y)]), "only once"),
    ],
)
def test_what_is_no_data(data: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        load_data(data)
    assert "\n" not in str(caught.value)
