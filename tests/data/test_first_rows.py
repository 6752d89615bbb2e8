"""Whether a limit takes rows that are like all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nvmc.data import load_data
from nvmc.data.first_rows import first_rows_note

SORTED = np.repeat(np.arange(10), 20)
X = np.zeros((200, 3), np.float32)


def test_rows_sorted_by_class_are_told() -> None:
    note = load_data((X, SORTED), limit=40).note
    assert note.startswith("the first 40 samples of your data are not like all 200: they lack 8 of")
    assert "(2, 3, 4, 5, 6, …)" in note


def test_other_shares_are_told() -> None:
    y = np.concatenate([[0] * 60 + [1] * 40, [0] * 100 + [1] * 800])  # no class is missing
    assert "class 0 is 60 % of them and 16 % of all" in first_rows_note("mine.npz", y, 100)


@pytest.mark.parametrize("limit", [None, 200, 1000])
def test_all_rows_are_like_all(limit: int | None) -> None:
    assert load_data((X, SORTED), limit=limit).note == ""


def test_random_order_is_rarely_told() -> None:
    """Each order is called unlike with probability 1/2001; of 100, two or more with 0.1 %."""
    generator = np.random.default_rng(0)
    counts = generator.choice([5, 10, 40, 100, 180], 100)
    told = [first_rows_note("a", generator.permutation(SORTED), int(n)) for n in counts]
    assert sum(map(bool, told)) < 2


@pytest.mark.parametrize("limit", [1, 5, 10, 30, 100, 101])
def test_classes_more_even_than_chance_are_no_fault(limit: int) -> None:
    assert first_rows_note("a", np.tile(np.arange(10), 20), limit) == ""


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_own_data_sets_are_mixed(split: Any) -> None:
    assert [load_data("digits", split, limit).note for limit in (1, 10, 50, 150)] == [""] * 4


@pytest.mark.parametrize("y", [None, np.linspace(0, 1, 200), SORTED.reshape(20, 10)])
def test_nothing_is_said_without_a_class_per_row(y: Any) -> None:
    assert first_rows_note("a", y, 10) == ""


def test_the_note_outlives_choosing_and_fitting() -> None:
    data = load_data({"a": X, "b_attention_mask": X, "y": SORTED}, limit=20)
    assert data.note
    for one in (data.of(slice(5)), data.shuffled(), data.for_network(["a"]), load_data(data)):
        assert one.note == data.note
    assert data.for_network(["q"]).note == data.note


def test_labels_of_samples_that_are_not_read_are_known() -> None:
    torch = pytest.importorskip("torch")
    pairs = list(zip(X, SORTED, strict=True))
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(SORTED))
    for source in (pairs, tensors, _Folder()):
        assert "lack 9 of 10" in load_data(source, limit=20).note
    assert _Folder.read == 20


class _Folder:
    """Images that are costly to read, as torchvision has them: labels are `targets`."""

    read = 0
    targets = SORTED.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        _Folder.read += 1
        return X[index], self.targets[index]
