"""Data sets of one's own: a sequence of samples, or an iterable of batches, as torch has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nvmc.errors import DataError, with_article

__all__ = ["Samples", "collected", "labels_of"]


@runtime_checkable
class Samples(Protocol):
    """A sequence of samples (x, y), such as a torch `Dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def collected(source: Any, limit: int | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Samples or batches as two arrays x and y.

    What has a length and items, such as a torch `Dataset`, is samples (x, y); what can only be
    iterated over, such as a torch `DataLoader`, is batches (x, y) of samples, in its own order.

    Args:
        source: One of them.
        limit: At most so many samples are taken; None for all.

    Raises:
        DataError: It is none, or its samples differ in shape.
    """
    pairs = _samples(source, limit) if isinstance(source, Samples) else _batches(source, limit)
    xs, ys = list[Any](), list[Any]()
    for place, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(cast("list[Any]", pair)) != 2:
            kind = type(cast(object, pair)).__name__
            many = f" of {len(cast('list[Any]', pair))}" if isinstance(pair, tuple | list) else ""
            raise DataError(
                f"item {place} of the data is a {kind}{many}; expected a pair (x, y); for x "
                "without labels give (x, None)"
            )
        x, y = (_array(part, place) for part in cast("list[Any]", pair))
        for arrays, array in ((xs, x), (ys, y)):
            if arrays and array.shape[1:] != arrays[0].shape[1:]:
                raise DataError(
                    f"item {place} of the data has shape {list(array.shape[1:])} where the first "
                    f"has {list(arrays[0].shape[1:])}; make all of one shape"
                )
            arrays.append(array)
        if len(x) != len(y):
            raise DataError(f"batch {place} of the data has {len(x)} of x but {len(y)} of y")
    if not xs:
        raise DataError("the data hold no samples; expected at least one")
    return np.concatenate(xs)[:limit], np.concatenate(ys)[:limit]


def labels_of(source: Any) -> NDArray[Any] | None:
    """The labels of all samples, where they are at hand without reading the samples; else None.

    Args:
        source: As `collected` takes it: a list of pairs, or a data set of torch or torchvision,
            which has `targets`, or `tensors` with the labels last.
    """
    found: Any
    if isinstance(source, list):
        pairs = cast("list[Any]", source)
        try:
            found = [y for _, y in pairs]
        except (TypeError, ValueError):  # no pairs, of which `collected` complains
            return None
    elif isinstance(source, Samples):
        tensors: Any = getattr(source, "tensors", None) or [None]
        found = getattr(source, "targets", tensors[-1])
    else:
        return None
    try:
        labels = np.asarray(found)
    except (TypeError, ValueError, RuntimeError):
        return None
    count = len(cast("Samples", source))
    return labels if labels.ndim == 1 and len(labels) == count else None


def _samples(source: Samples, limit: int | None) -> Iterator[Any]:
    """Samples as batches of one."""
    count = len(source)
    for index in range(count if limit is None else min(count, limit)):
        sample = source[index]
        parts = cast("list[Any]", sample) if isinstance(sample, tuple | list) else []
        yield [_array(part, index)[None] for part in parts] if len(parts) == 2 else sample


def _batches(source: Any, limit: int | None) -> Iterator[Any]:
    if not isinstance(source, Iterable):
        raise DataError(
            f"the data are {with_article(type(source).__name__)}; expected a name, a Dataset, "
            "arrays (x, y), a sequence of samples (x, y), or batches of them"
        )
    batches = cast("Iterable[Any]", source)
    if iter(batches) is batches:
        raise DataError(
            "the data can be read only once, as a generator; give a list of samples, or a loader"
        )
    taken = 0
    for place, batch in enumerate(batches):
        parts = cast("list[Any]", batch) if isinstance(batch, tuple | list) else []
        arrays = [_array(part, place) for part in parts]
        if len(arrays) == 2 and arrays[1].ndim == 0:  # samples, as a torch IterableDataset has
            arrays = [array[None] for array in arrays]
        yield arrays if len(arrays) == 2 else batch
        taken += len(arrays[0]) if arrays and arrays[0].ndim else 0
        if limit is not None and taken >= limit:
            return


def _array(value: Any, place: int) -> NDArray[Any]:
    """A tensor or number as an array, without its gradient or device."""
    try:
        found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"item {place} of the data is no array: {error}") from error
    if found.dtype.kind not in "biuf":
        raise DataError(f"item {place} of the data is {found.dtype}; expected numbers")
    return found
