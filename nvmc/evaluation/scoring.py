"""Which output is scored, and how it is read.

One place decides it, for simulation, uncertainty and training alike, from the network's outputs,
what is known of the images, and what the user says. What cannot be known is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nvmc.data import IGNORED, Dataset
from nvmc.errors import DataError, ModelError, OptionError, unknown
from nvmc.evaluation.reading import Holds, Reading, Wanted
from nvmc.metrics import find_metric
from nvmc.passes.graph.describe import Model, Shape, tensor_entries
from nvmc.passes.graph.outputs import Output, outputs_of

__all__ = ["Probe", "read"]

Probe = Callable[[str], NDArray[Any]]
"""Name of an output -> what the ideal chip puts out for some images."""

_NUMBERS = frozenset(["bool", "int32", "int64", "uint32", "uint64"])
"""Types of class numbers. Narrower ones are codes of scores in quantised networks."""


def read(
    model: Model, dataset: Dataset | None, wanted: Wanted, probe: Probe | None = None
) -> Reading:
    """How the output of a network is read.

    Args:
        model: The network, whose inputs take images along the first axis. An output of unknown
            shape gets the one that `probe` finds.
        dataset: The images with what is known of them; None for seeded inputs.
        wanted: What the user says.
        probe: Runs the ideal chip, where sizes are not known and where an output of class numbers
            is compared with another of scores.

    Raises:
        OptionError: There is no such output or axis.
        DataError: The output does not fit the labels.
        ModelError: The network has no output of numbers.
    """
    every = [output.name for output in outputs_of(model)]
    values = {output.name: output for output in outputs_of(model) if output.is_numeric}
    if wanted.output is not None and wanted.output not in values:
        if wanted.output not in every:
            raise OptionError(unknown("output", wanted.output, list(values)))
        raise OptionError(
            f"output {wanted.output!r} holds no tensor of numbers; choose one of "
            f"{', '.join(values) or 'none'} with --output"
        )
    if not values:
        raise ModelError(
            f"the network puts out {', '.join(every) or 'nothing'}, no tensor of numbers; export "
            "it with an output that is one"
        )
    reader = _Reader(model, dataset, wanted, probe)
    if wanted.output is not None:
        return reader.of(values[wanted.output])
    return reader.first_of(list(values.values()))


class _Reader:
    """Reads outputs of one network."""

    def __init__(
        self, model: Model, dataset: Dataset | None, wanted: Wanted, probe: Probe | None
    ) -> None:
        self._images = next(iter(tensor_entries(model.graph.inputs[:1])[0].shape or ()), None)
        self._dataset = dataset
        self._wanted = wanted
        self._probe = probe

    def first_of(self, values: list[Output]) -> Reading:
        """The first output that fits; class scores rather than the class numbers made of them."""
        problem: DataError | None = None
        for place, value in enumerate(values):
            try:
                found = self.of(value)
            except DataError as error:
                problem = problem or error
                continue
            if found.holds == "class numbers":
                return self._scores_instead(found, values[place + 1 :])
            if found.holds == "class scores":
                found = self._head_instead(value, found, values[place + 1 :])
                found = self._numbers_instead(found, values[place + 1 :])
            if found.why:
                return found
            if len(values) == 1:
                return found
            fits = "" if not place else f" that fits {self._known}"
            return replace(found, why=f"the first of {len(values)} outputs{fits}")
        assert problem is not None
        raise problem

    def _scores_instead(self, numbers: Reading, others: list[Output]) -> Reading:
        """The scores that class numbers are made of, where an output holds them."""
        for value in others:
            try:
                other = self.of(value)
            except (DataError, OptionError):
                continue
            if other.holds != "class scores" or not _alike(other.decisions, numbers.decisions):
                continue
            if self._probe is None or _decide(
                self._probe(other.output), other, self._probe(numbers.output)
            ):
                return replace(other, why=f"{numbers.output} holds class numbers")
            return replace(numbers, why=f"{other.output} counts its classes in another way")
        return numbers

    def _head_instead(self, value: Output, features: Reading, others: list[Output]) -> Reading:
        """Scores of another output that are computed from these: then these are features."""
        for other in others:
            if not other.depends_on(value):
                continue
            try:
                head = self.of(other)
            except (DataError, OptionError):
                continue
            if head.holds == "class scores" and _classes(other, head) != _classes(value, features):
                return replace(head, why=f"{value.name} is what it is computed from")
        return features

    def _numbers_instead(self, scores: Reading, others: list[Output]) -> Reading:
        """The class numbers of another output, where these scores count classes in another way."""
        for value in others if self._probe is not None else []:
            try:
                other = self.of(value)
            except (DataError, OptionError):
                continue
            alike = other.holds == "class numbers" and _alike(scores.decisions, other.decisions)
            if alike and self._probe is not None:
                numbers = self._probe(other.output)
                if not _decide(self._probe(scores.output), scores, numbers):
                    why = f"{scores.output} counts its classes in another way"
                    return replace(other, why=why)
        return scores

    def of(self, value: Output) -> Reading:
        """How one output is read."""
        shape = self._shape(value)
        name, images = value.name, self._images_axis(value)
        if shape is None:
            return self._blindly(name)
        axes = [axis for axis in range(len(shape)) if axis != images]
        sizes = [size if isinstance(size := shape[axis], int) else None for axis in axes]
        holds, place, by = self._held(value, sizes, axes)
        left = [size for at, size in enumerate(sizes) if at != place]
        known = None if None in left else tuple(size or 0 for size in left)
        axis = None if place is None else axes[place]
        return Reading(name, holds, axis, images, known, axis_by=by)

    @property
    def _known(self) -> str:
        return "the values" if self._labels is None else "the labels"

    @property
    def _labels(self) -> tuple[int, ...] | None:
        """Shape of one image's labels."""
        y = None if self._dataset is None else self._dataset.y
        return None if y is None else y.shape[1:]

    def _blindly(self, name: str) -> Reading:
        """An output of unknown shape: classes along axis 1, as everywhere."""
        values = self._dataset is not None and self._dataset.targets is not None
        return Reading(name, "values") if values else Reading(name, "class scores", 1)

    def _shape(self, value: Output) -> Shape:
        shape = value.shape
        known = shape is not None and all(isinstance(size, int) for size in shape[1:])
        if known or self._probe is None:
            return shape
        found = list(self._probe(value.name).shape)
        value.learn(found)
        return [*(shape or [None])[:1], *found[1:]]

    def _images_axis(self, value: Output) -> int | None:
        """The axis of images: as given, or where the inputs' name of their number stands."""
        given, shape = self._wanted.batch_axes, value.shape or [None]
        if given is not None and (value.name in given or "" in given):
            axis = given.get(value.name, given.get(""))
            if axis is not None and axis >= len(shape):
                raise OptionError(
                    f"--batch-axis is {axis}, but output {value.name!r} has shape {shape}; "
                    f"expected 0 to {len(shape) - 1}"
                )
            return axis
        images, names = self._images, shape
        if images == 1 and isinstance(names[0], int) and names[0] != 1:
            return None  # rows of the one image that a run takes
        if isinstance(images, str) and names[0] != images and names.count(images) == 1:
            return names.index(images)
        return 0

    def _held(
        self, value: Output, sizes: list[int | None], axes: list[int]
    ) -> tuple[Holds, int | None, str]:
        """What it holds, the place of its class axis among `sizes`, and what tells that."""
        numbers = value.kind == "classes"
        if self._dataset is not None and self._dataset.targets is not None:
            return self._as_values(value, sizes, numbers)
        given = self._given_axis(value, axes)
        ranked = None if given is not None else value.ranked_by()
        metric = find_metric(self._wanted.metric)
        by_values = metric is not None and metric.reference == "ideal values"
        if ranked is not None and not by_values:
            raise DataError(
                f"output {value.name!r} holds what {ranked} took of the classes' scores, which "
                "does not say which class; choose another with --output"
            )
        if self._labels is not None:
            return self._by_labels(value, sizes, axes, given, numbers or value.dtype in _NUMBERS)
        if numbers or (value.dtype in _NUMBERS and given is None):
            return "class numbers", None, ""
        if by_values:
            return "values", None, ""
        if given is not None:
            return "class scores", given, "--class-axis"
        if len(sizes) < 2:
            return ("class scores", 0, "") if sizes and sizes[0] != 1 else ("values", None, "")
        place, by = self._traced(value, axes)
        if place is None:
            large = [at for at, size in enumerate(sizes) if size != 1]
            if len(large) > 1:
                raise self._ambiguous(value, [axes[at] for at in large], "")
            return ("class scores", large[0], "") if large else ("values", None, "")
        return ("class scores", place, by) if sizes[place] != 1 else ("values", None, "")

    def _as_values(
        self, value: Output, sizes: list[int | None], numbers: bool
    ) -> tuple[Holds, int | None, str]:
        assert self._dataset is not None and self._dataset.targets is not None
        if numbers:
            raise DataError(
                f"output {value.name!r} holds class numbers, but {self._dataset.name} holds values "
                "to be met; save y as int64, or choose an output of values with --output"
            )
        if None not in sizes:
            self._dataset.targets_for([size or 0 for size in sizes])
        self._refuse_one_hot("value")
        return "values", None, ""

    def _by_labels(
        self,
        value: Output,
        sizes: list[int | None],
        axes: list[int],
        given: int | None,
        numbers: bool,
    ) -> tuple[Holds, int | None, str]:
        labels = self._labels or ()
        if numbers and given is None and _fits(sizes, labels):
            return "class numbers", None, ""
        places = [
            at
            for at, size in enumerate(sizes)
            if size != 1 and _fits([*sizes[:at], *sizes[at + 1 :]], labels)
        ]
        if given is not None and given in places:
            return "class scores", given, "--class-axis"
        if given is None and value.kind != "classes":
            one = _single(sizes) if _fits(sizes, labels) and not places else None
            if one is not None:
                return "one score", one[0], ""
            if places:
                return self._of_several(value, sizes, axes, places)
            if len(sizes) == 1 and sizes == list(labels) and self._yes_or_no():
                self._refuse_one_hot("decision")
                return "label scores", None, ""
        raise self._unfit(value, sizes)

    def _refuse_one_hot(self, kind: str) -> None:
        """Classes as rows with a single 1 would pass for a decision or value in each column."""
        assert self._dataset is not None
        y = self._dataset.y if self._dataset.targets is None else self._dataset.targets
        if y is None or y.ndim != 2 or min(y.shape) < 2 or self._wanted.metric is not None:
            return
        if np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
            raise DataError(
                f"labels of {self._dataset.name} have one 1 in each row of {y.shape[1]}: give "
                f"class numbers (y.argmax(1)), or, where each column is a {kind} of its own, name "
                f"the metric, such as {'accuracy' if kind == 'decision' else 'r2'}"
            )

    def _yes_or_no(self) -> bool:
        """Whether all labels that count are 0 or 1, so that a score may be one label's."""
        y = None if self._dataset is None else self._dataset.y
        return y is not None and bool(np.isin(y, (0, 1, IGNORED)).all())

    def _of_several(
        self, value: Output, sizes: list[int | None], axes: list[int], places: list[int]
    ) -> tuple[Holds, int | None, str]:
        """Of the axes that may be that of the classes, the one that fits the labels best."""
        labels = list(self._labels or ())
        if len(places) > 1:
            exact = [at for at in places if [*sizes[:at], *sizes[at + 1 :]] == labels]
            places = exact if len(exact) == 1 else places
        if len(places) == 1:
            return "class scores", places[0], "the labels" if len(sizes) > 1 else ""
        place, by = self._traced(value, axes)
        if place not in places:
            raise self._ambiguous(value, [axes[at] for at in places], " by the labels")
        return "class scores", place, by

    def _traced(self, value: Output, axes: list[int]) -> tuple[int | None, str]:
        found = value.class_axis()
        if found is None or found[0] not in axes:
            return None, ""
        return axes.index(found[0]), found[1]

    def _given_axis(self, value: Output, axes: list[int]) -> int | None:
        axis, rank = self._wanted.class_axis, len(axes) + (self._images_axis(value) is not None)
        if axis is None:
            return None
        wanted = axis + rank if axis < 0 else axis
        if wanted not in axes:
            raise DataError(
                f"--class-axis is {axis}, but output {value.name!r} has shape {value.shape}; "
                f"expected {' or '.join(map(str, axes)) or 'none'}"
            )
        return axes.index(wanted)

    def _ambiguous(self, value: Output, axes: list[int], how: str) -> OptionError:
        choices = " or ".join(f"--class-axis {axis}" for axis in axes)
        other = "" if how else ", or compare values with --metric agreement-r2"
        return OptionError(
            f"output {value.name!r} has shape {value.shape}, whose classes may lie "
            f"along several axes{how}; say {choices}{other}"
        )

    def _unfit(self, value: Output, sizes: list[int | None]) -> DataError:
        assert self._dataset is not None
        shape, labels = value.shape, list(self._labels or ())
        if all(size == 1 for size in sizes) or not sizes:
            return DataError(
                f"output {value.name!r} has shape {shape}, one number per image, but "
                f"{self._dataset.name} has labels of shape {labels} per image; choose another "
                "with --output, or give one label per decision"
            )
        return DataError(
            f"labels of {self._dataset.name} have shape {labels} per image, which does not fit "
            f"output {value.name!r} of shape {shape}: expected its shape without the axis of "
            "images and that of the classes; give one label per decision, choose another with "
            "--output, or save y as float32 if it holds target values"
        )


def _fits(sizes: Sequence[int | None], labels: Sequence[int]) -> bool:
    """Whether sizes are those of the labels, whose axes of size 1 come and go."""
    if len(sizes) == len(labels):
        if all(a in (None, b) for a, b in zip(sizes, labels, strict=True)):
            return True
    return None not in sizes and [s for s in sizes if s != 1] == [s for s in labels if s != 1]


def _single(sizes: list[int | None]) -> tuple[int | None] | None:
    """Where the axis of a single score is, in a tuple; None where there is no such axis."""
    if not sizes:
        return (None,)
    return next(((at,) for at in (0, len(sizes) - 1) if sizes[at] == 1), None)


def _alike(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    """Whether two shapes are of the same decisions."""
    if one is None or other is None:
        return one == other
    return [size for size in one if size != 1] == [size for size in other if size != 1]


def _classes(value: Output, reading: Reading) -> object:
    """How many classes an output tells apart, as far as its shape says."""
    shape, axis = value.shape, reading.class_axis
    return None if shape is None or axis is None or axis >= len(shape) else shape[axis]


def _decide(scores: NDArray[Any], reading: Reading, numbers: NDArray[Any]) -> bool:
    """Whether class numbers say where scores are greatest."""
    last = np.moveaxis(scores, reading.class_axis or 0, -1)
    if numbers.size != last[..., 0].size:
        return False
    places = numbers.reshape(last.shape[:-1]).astype(np.int64)
    if places.size and not 0 <= places.min() <= places.max() < last.shape[-1]:
        return False
    own = np.take_along_axis(last, places[..., None], -1)[..., 0]
    return bool(np.all(own == last.max(axis=-1)))
