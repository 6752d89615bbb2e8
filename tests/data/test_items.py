"""What the rows of a data set are called where they are counted."""

import pytest

from nvmc.data import FILES, READERS
from nvmc.data.items import ITEMS, counted_items, in_items, item_of, these_items


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "image"),
        ("images:pets,size=32x32", "image"),
        ("co2,window=12", "week"),
        ("speech-commands:sounds", "recording"),
        ("next:texts.npz", "sequence"),
        ("images.npz", "sample"),
        ("co2:old/texts.npz", "sample"),
        ("your data", "sample"),
        ("seeded inputs", "sample"),
        (None, "sample"),
    ],
)
def test_a_data_set_says_what_its_rows_are(name: str | None, expected: str) -> None:
    assert item_of(name) == expected


def test_every_named_set_has_a_word() -> None:
    assert READERS.keys() | {prefix.rstrip(":") for prefix in FILES if prefix} == ITEMS.keys()


def test_texts_speak_of_the_rows() -> None:
    assert in_items("all chips and images like these", "co2") == "all chips and weeks like these"


def test_counted_rows_have_the_right_number() -> None:
    assert [counted_items(n, "digits") for n in (1, 1797)] == ["1 image", "1,797 images"]
    assert [counted_items(n, "co2,window=12") for n in (1, 2)] == ["1 week", "2 weeks"]
    assert counted_items(2, "mine.npz") == "2 samples"
    assert [these_items(n, "digits") for n in (1, 2)] == ["this 1 image", "these 2 images"]
