"""Inputs of one split, and what a network should say of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.arguments import checked
from nvmc.data.items import item_of
from nvmc.errors import DataError
from nvmc.rng import stream
from nvmc.tables import Cell, Shown, Table

__all__ = ["IGNORED", "Dataset", "Floats", "Labels", "check_labels", "check_shape"]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
IGNORED = -100
"""The label of a decision that does not count, such as padding: PyTorch's `ignore_index`."""


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Shown):
    """Inputs of one split, and what is known of them: classes, target values, or neither.

    Attributes:
        name: The text that named the data set.
        x: Inputs (N, ...), N >= 1; of several, the first. Finite float32, unless the data name the
            input that they are for.
        y: Classes, int64 (N,) or (N, ...), none negative but `IGNORED`; None where none are known.
        targets: Values that the outputs are to meet (regression), float32 (N, ...), finite; None
            where none are known. Never beside classes.
        inputs: Arrays (N, ...) by the name of the network's input that they are for, `x` among
            them where there is one. Empty where there is x alone, for the only input of any
            network.
        note: What a reader of results should know of how the rows were taken, in a sentence; empty
            where there is nothing.

    Raises:
        DataError: The numbers of rows differ, or there are classes and values.
    """

    name: str
    x: NDArray[Any]
    y: Labels | None = None
    targets: Floats | None = None
    inputs: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    note: str = ""

    def __post_init__(self) -> None:
        known = {"y": self.y, "targets": self.targets, **self.inputs}
        for name, array in known.items():
            if array is not None and len(array) != len(self.x):
                raise DataError(
                    f"{self.name} has {len(self.x)} inputs but {len(array)} rows of {name}; give "
                    "one row per input"
                )
        if self.y is not None and self.targets is not None:
            raise DataError(f"{self.name} has classes and target values; give one of the two")

    def headline(self) -> str:
        """What it is, in one line."""
        samples = f"{len(self.x):,} sample{'' if len(self.x) == 1 else 's'}"
        return f"Dataset {self.name}: {samples}; {'; '.join(map(_array_text, self._arrays()))}"

    def _arrays(self) -> list[tuple[str, NDArray[Any], str]]:
        """Name, array and meaning of everything that it holds."""
        inputs = self.inputs or {"x": self.x}
        found: list[tuple[str, NDArray[Any], str]] = [(n, a, "input") for n, a in inputs.items()]
        if self.y is not None:
            classes = len(np.unique(self.y[self.y != IGNORED]))
            found.append(("y", self.y, f"{classes:,} class{'' if classes == 1 else 'es'}"))
        if self.targets is not None:
            found.append(("targets", self.targets, "target values"))
        return found

    def shown(self) -> Table:
        """A row for each array."""
        rows = tuple(
            (name, what, " x ".join(map(str, array.shape)), str(array.dtype))
            for name, array, what in self._arrays()
        )
        return Table(("array", "what", "shape", "type"), rows)

    def records(self) -> Iterator[dict[str, Cell]]:
        """A row for each array; the arrays themselves are `x`, `y`, `targets` and `inputs`."""
        for name, array, what in self._arrays():
            shape = "x".join(map(str, array.shape))
            yield {"array": name, "what": what, "shape": shape, "type": str(array.dtype)}

    @property
    def sha256(self) -> str:
        """Digest of the content, in hexadecimal: shapes and values, not the name."""
        digest = hashlib.sha256()
        known = self.y if self.targets is None else self.targets
        for array in (self.x, known, *(self.inputs[name] for name in sorted(self.inputs))):
            if array is None:
                digest.update(b"none")
                continue
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str}{little.shape}".encode())
            digest.update(little.data)
        digest.update("".join(f" {name}" for name in sorted(self.inputs)).encode())
        return digest.hexdigest()

    def of(self, chosen: slice | NDArray[np.int64]) -> Dataset:
        """Some of the images, with what is known of them."""
        y = None if self.y is None else self.y[chosen]
        targets = None if self.targets is None else self.targets[chosen]
        inputs = {name: array[chosen] for name, array in self.inputs.items()}
        return replace(self, x=self.x[chosen], y=y, targets=targets, inputs=inputs)

    def for_network(self, names: Sequence[str]) -> Dataset:
        """The data without what a network with inputs of these names does not take.

        Returns:
            One whose x is the only input's array, or whose `inputs` are the network's, in its
            order.

        Raises:
            DataError: An input gets nothing.
        """
        if len(names) == 1 and (names[0] in self.inputs or not self.inputs or "x" in self.inputs):
            return replace(self, x=self.inputs.get(names[0], self.x), inputs={})
        masked = len(names) == 1 and len(self.inputs) > 1  # one array of another name may be wrong
        if masked and (only := self._beside_masks()) is not None:
            return replace(self, x=only, inputs={})
        given = self.inputs or {"x": self.x}
        missing = [name for name in names if name not in given]
        if missing or not names:
            raise DataError(
                f"{self.name} holds {', '.join(given)} with {len(self.x)} rows, but the network's "
                f"inputs are {', '.join(names) or 'none'}; give an .npz file with an array for "
                f"each by its name, as long as the others"
                f"{': y is kept for classes and values' if 'y' in missing else ''}"
            )
        inputs = {name: given[name] for name in names}
        return replace(self, x=inputs[names[0]], inputs=inputs)

    def _beside_masks(self) -> NDArray[Any] | None:
        """The one input that is no mask; None where there are several."""
        others = [name for name in self.inputs if not name.endswith("attention_mask")]
        if len(others) > 1:
            return None
        return self.inputs[others[0]] if others else self.x

    def with_next_tokens(self) -> Dataset:
        """The data of a causal language model: the label of a token is the token behind it.

        Tokens are `decoder_input_ids`, else `input_ids`, else the only input beside masks, shape
        (N, T).
        `IGNORED` are the last token of each row and, where there is a mask (`attention_mask`, or
        `decoder_attention_mask`), those that are padding or have padding behind them.

        Raises:
            DataError: There are labels already, no tokens, or a mask of another shape.
        """
        if self.y is not None or self.targets is not None:
            raise DataError(
                f"{self.name} holds y, but labels are to be the next tokens; leave next: out, or "
                "save the file without y"
            )
        whose = "decoder_" if "decoder_input_ids" in self.inputs else ""
        tokens = self.inputs.get(f"{whose}input_ids", self._beside_masks())
        if tokens is None or tokens.ndim != 2 or not _are_whole(tokens):
            raise DataError(
                f"{self.name} holds {', '.join(self.inputs) or 'x'}, but next: needs tokens, whole "
                "numbers of shape (texts, length); save them as input_ids, or the labels as y"
            )
        y = np.full(tokens.shape, IGNORED, np.int64)
        y[:, :-1] = tokens[:, 1:]
        mask = self.inputs.get(f"{whose}attention_mask")
        if mask is not None:
            if mask.shape != tokens.shape:
                raise DataError(
                    f"{whose}attention_mask of {self.name} has shape {list(mask.shape)}, but "
                    f"{whose}input_ids {list(tokens.shape)}; expected the same"
                )
            y[:, :-1][(mask[:, 1:] == 0) | (mask[:, :-1] == 0)] = IGNORED
        if (y == IGNORED).all():
            raise DataError(f"no token of {self.name} has a next one; give longer texts")
        return replace(self, name=f"next:{self.name}", y=y)

    def shuffled(self) -> Dataset:
        """The same images in the order that chips run them: any first ones are a random sample."""
        return self.of(stream(0, 0, "order of images").permutation(len(self.x)))

    def targets_for(self, shape: Sequence[int]) -> Floats:
        """The targets in the shape of the outputs.

        Args:
            shape: Of one image's output. Axes of size 1 do not matter: a target of one number fits
                an output (1,).

        Returns:
            float32 (N, *shape).

        Raises:
            DataError: There are no targets, or they do not fit.
        """
        if self.targets is None:
            raise DataError(f"{self.name} has no target values; save y as float32")
        wanted, found = tuple(shape), self.targets.shape[1:]
        if [size for size in found if size != 1] != [size for size in wanted if size != 1]:
            raise DataError(
                f"{self.name} has values of shape {list(found)} per input, but the output has "
                f"{list(wanted)}; give a value for every output, or save y as int64 if it holds "
                "class numbers"
            )
        return self.targets.reshape(len(self.targets), *wanted)


def _are_whole(numbers: NDArray[Any]) -> bool:
    """Whether all are whole numbers that int64 holds."""
    if numbers.dtype.kind != "f":
        return numbers.dtype.kind == "i" or bool((numbers <= np.iinfo(np.int64).max).all())
    wide = numbers.astype(np.float64)
    return bool(((np.abs(wide) < 2.0**63) & (wide == np.rint(wide))).all())


def check_labels(dataset: Dataset, classes: int) -> None:
    """Make sure that every label names one of the model's classes.

    Raises:
        DataError: There are no labels, or one is not in 0 ... classes - 1.
    """
    if dataset.y is None:
        raise DataError(f"{dataset.name} has no labels; accuracy needs them: add an array y")
    counted = dataset.y[dataset.y != IGNORED]
    low, high = int(counted.min(initial=0)), int(counted.max(initial=0))
    if low < 0 or high >= classes:
        raise DataError(
            f"{dataset.name} has label {low if low < 0 else high}, but the model tells 0 to "
            f"{classes - 1} apart; give it data of its own {classes} classes"
            f"{', or save y as float32 if it holds target values' if classes <= 2 else ''}"
        )


def _array_text(found: tuple[str, NDArray[Any], str]) -> str:
    name, array, what = found
    shape = " x ".join(map(str, array.shape[1:]))
    parts = [shape, str(array.dtype) if what == "input" else what]
    return f"{name} {', '.join(filter(None, parts))}"


def check_shape(
    dataset: Dataset, input_shape: Sequence[int | str | None], name: str | None = None
) -> None:
    """Make sure that the inputs fit the model's input, batch aside.

    Args:
        dataset: The data.
        input_shape: The model input's shape with its batch dimension first; a name or None fits
            any size. The batch dimension is not compared.
        name: Which of several inputs.

    Raises:
        DataError: The rank or a fixed size differs.
    """
    array = dataset.x if name is None else dataset.inputs[name]
    who = "the model" if name is None else f"input {name!r}"
    wanted, found = tuple(input_shape[1:]), array.shape[1:]
    fits = len(wanted) == len(found) and all(
        not isinstance(want, int) or want == size for want, size in zip(wanted, found, strict=True)
    )
    if not fits and tuple(input_shape) == found:
        raise DataError(
            f"{who} takes one {item_of(dataset.name)} of {dataset.name} at a time: it has no batch "
            "axis, which calibration and training need; export the network with a dynamic batch"
        )
    if not fits:
        want = " x ".join(str(size) if isinstance(size, int) else "any" for size in wanted)
        have = " x ".join(map(str, found))
        raise DataError(
            f"{dataset.name} holds {item_of(dataset.name)}s of {have or 'a single number'}, but "
            f"{who} takes "
            f"{want or 'a single number'}; transpose or resize the data, or name another set"
        )
