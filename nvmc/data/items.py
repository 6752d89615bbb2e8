"""What the rows of a data set are called where they are counted: images, weeks, recordings."""

from __future__ import annotations

__all__ = ["ITEMS", "counted_items", "in_items", "item_of", "these_items"]

ITEMS = {
    "digits": "image",
    "mnist": "image",
    "cifar10": "image",
    "cifar100": "image",
    "images": "image",
    "gtsrb": "image",
    "drive": "image",
    "penn-fudan": "image",
    "coco": "image",
    "speech-commands": "recording",
    "co2": "week",
    "next": "sequence",
}
"""First word of a data set's name -> what one of its rows is called."""

OTHER = "sample"
"""What a row of any other data is called: of .npz files, arrays, and random inputs."""


def item_of(name: object) -> str:
    """What one row of a data set is called, by the set's name: `week` for `co2,window=12`."""
    text = str(name)
    if text.endswith(".npz") and not text.startswith("next:"):
        return OTHER
    return ITEMS.get(text.partition(",")[0].partition(":")[0], OTHER)


def in_items(text: str, name: object) -> str:
    """A text that speaks of images, in the word for a data set's rows: `on these weeks`.

    Args:
        text: With "image" or "images"; nothing else in it is changed.
        name: Name of the data set.
    """
    return text.replace("image", item_of(name))


def counted_items(number: int, name: object) -> str:
    """So many rows of a data set: `1 image`, `1,797 images`, `40 weeks`."""
    return f"{number:,} {item_of(name)}{'' if number == 1 else 's'}"


def these_items(number: int, name: object) -> str:
    """The rows that were run: `these 531 images`, `this 1 image`."""
    return f"{'this' if number == 1 else 'these'} {counted_items(number, name)}"
