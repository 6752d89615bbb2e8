"""Image folders: a folder for each class, as torchvision's ImageFolder takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nvmc.data.files import SPLITS, Split
from nvmc.data.pictures import FORMATS, pictures
from nvmc.data.sources import Found, Source, mixed
from nvmc.errors import DataError

__all__ = ["is_whole", "read_folders"]

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
"""Subfolders that hold a split."""


def is_whole(folder: Path) -> bool:
    """Whether the folder has no subfolder that is a split: then it is every split."""
    return not any(_part(folder, split) for split in SPLITS)


def read_folders(source: Source) -> Found:
    """Images (N, channels, rows, columns) and classes (N,), the numbers of the sorted names.

    A split is a subfolder; without one for validation, that is each tenth image of `train` in the
    `mixed` order (docs/data.md). Without any subfolder of a split, the folder is every split.
    """
    part, tenth = _place(source)
    files = _files(part, source.folder)
    order = mixed(len(files))
    if tenth is not None:
        order = [index for place, index in enumerate(order) if (place % 10 == 9) == tenth]
    chosen = [files[index] for index in order[: source.limit]]
    x = pictures(source, [path for path, _ in chosen])
    return Found(x, np.array([label for _, label in chosen], np.int64))


def _place(source: Source) -> tuple[Path, bool | None]:
    """The folder of a split; and which part of it, the held-out tenth or the rest, or all."""
    if is_whole(source.folder):
        return source.folder, None
    own, train = _part(source.folder, source.split), _part(source.folder, "train")
    shared = source.split != "test" and _part(source.folder, "validation") is None
    if own is not None:
        return own, False if shared else None
    if shared and train is not None:
        return train, True
    lacking = "train" if shared else source.split
    raise DataError(
        f"{source.folder} has no folder {lacking}; make one, with a folder for each class"
    )


def _part(folder: Path, split: Split) -> Path | None:
    """The subfolder of a split, where there is one."""
    found = [folder / name for name in NAMES[split] if (folder / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} are both a {split} split; keep one")
    return found[0] if found else None


def _files(part: Path, folder: Path) -> list[tuple[Path, int]]:
    """Image files with the number of their class, in the order of their names.

    The classes are those of all splits, so that one has the same number in each.
    """
    parts = [_part(folder, split) for split in SPLITS] if part != folder else [part]
    names = sorted({path.name for one in parts if one for path in one.iterdir() if path.is_dir()})
    names = [name for name in names if not name.startswith(".")]
    found = [
        (path, number)
        for number, name in enumerate(names)
        for path in sorted((part / name).glob("**/*"))
        if path.suffix.lower() in FORMATS and path.is_file()
    ]
    if not found:
        raise DataError(
            f"{part} holds no folders with images; expected a folder for each class, with "
            f"{', '.join(FORMATS)} files"
        )
    return found
