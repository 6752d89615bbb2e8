"""What the rows of a data set are called where they are counted."""

import pytest

from nvmc.data import READERS
from nvmc.data.items import ITEMS, in_items, item_of


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
    assert READERS.keys() | {"next"} == ITEMS.keys()


def test_texts_speak_of_the_rows() -> None:
    assert in_items("all chips and images like these", "co2") == "all chips and weeks like these"
