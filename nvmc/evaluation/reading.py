"""How an output is read: what it holds, along which axes, and what the user says of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from nvmc.compiled.artifact import TensorEntry
from nvmc.data import Dataset
from nvmc.errors import DataError, OptionError, unknown
from nvmc.passes.graph.describe import one_image

__all__ = ["BatchAxes", "Holds", "Reading", "Wanted", "input_axes", "parse_batch_axes"]

Holds = Literal["class scores", "class numbers", "one score", "label scores", "values"]
"""What an output holds: a score for each class, the class decided for, one score whose sign (or
side of one half) tells two classes apart, such a score for each of several labels that are 0 or 1,
or values that stand for themselves."""
BatchAxes = Mapping[str, int | None]
"""Axis of images by the name of an input or output, "" being the scored output; None: it has none,
and the network takes one image at a time."""


@dataclass(frozen=True)
class Reading:
    """How an output is read.

    Attributes:
        output: Its name.
        holds: What it holds.
        class_axis: Axis of the classes' scores, as the network has it; None where it has none.
        batch_axis: Axis of the images; None where it has none.
        decisions: Shape of one image's decisions, or values; None where a size is not known.
        why: Why this output is read, where there was a choice.
        axis_by: What tells the class axis, where there was a choice.
    """

    output: str
    holds: Holds
    class_axis: int | None = None
    batch_axis: int | None = 0
    decisions: tuple[int, ...] | None = None
    why: str = ""
    axis_by: str = ""

    @property
    def by_sign(self) -> bool:
        """Whether a score decides alone: by its sign, or its side of one half."""
        return self.holds in ("one score", "label scores")

    @property
    def text(self) -> str:
        """For people: what is held, along which axes and why; empty where nothing was chosen."""
        parts = [self.why] if self.why else []
        if self.batch_axis is None:
            parts.append("run image by image")
        elif self.batch_axis:
            parts.append(f"images along axis {self.batch_axis}")
        along = f" along axis {self.class_axis} by {self.axis_by}" if self.axis_by else ""
        if not parts and not along and self.holds not in ("class numbers", "label scores"):
            return ""
        return "; ".join([f"{self.holds}{along}", *parts])

    @property
    def identity(self) -> dict[str, Any]:
        """What decides values beside the output's name."""
        found: dict[str, Any] = {}
        if self.holds in ("class numbers", "label scores"):
            found["holds"] = self.holds
        if self.class_axis not in (None, 1):
            found["class_axis"] = self.class_axis
        if self.batch_axis != 0:
            found["batch_axis"] = self.batch_axis
        return found

    def to_json(self) -> dict[str, Any]:
        """The keys of a description."""
        return {
            "output": self.output,
            "holds": self.holds,
            "class_axis": self.class_axis,
            "batch_axis": self.batch_axis,
            "reading": self.text,
        }

    def arranged(self, dataset: Dataset) -> Dataset:
        """The data with labels in the shape of the decisions: axes of size 1 come and go.

        Raises:
            DataError: They have another shape.
        """
        if dataset.y is None or self.decisions is None:
            return dataset
        found = dataset.y.shape[1:]
        if [s for s in found if s != 1] != [s for s in self.decisions if s != 1]:
            raise DataError(
                f"{dataset.name} has labels of shape {list(found)} per image, but output "
                f"{self.output!r} decides {list(self.decisions)}; give one label per decision"
            )
        return replace(dataset, y=dataset.y.reshape(len(dataset.y), *self.decisions))


@dataclass(frozen=True)
class Wanted:
    """What the user says of the output.

    Attributes:
        output: Its name; None leaves the choice.
        class_axis: Axis of the classes; from the end where negative.
        metric: Name of the metric.
        batch_axes: Axes of images.
    """

    output: str | None = None
    class_axis: int | None = None
    metric: str | None = None
    batch_axes: BatchAxes | None = None


def parse_batch_axes(text: str | None, names: Sequence[str]) -> BatchAxes | None:
    """What `--batch-axis` says: `none`, the scored output's axis, or NAME=AXIS,….

    Args:
        text: The option; None where it is not given.
        names: Of all inputs and outputs.

    Raises:
        OptionError: It is none of these.
    """
    if text is None:
        return None
    if text == "none":
        return dict.fromkeys(["", *names])
    found: dict[str, int | None] = {}
    for part in text.split(","):
        name, equals, axis = part.rpartition("=")
        if equals and name not in names:
            raise OptionError(f"--batch-axis {text!r}: {unknown('input or output', name, names)}")
        if not axis.isdecimal():
            raise OptionError(
                f"--batch-axis is {text!r}; expected the scored output's axis (1), axes by name "
                "(y=1,x=1), or none for a network that takes one image at a time"
            )
        found[name] = int(axis)
    return found


def input_axes(
    inputs: Sequence[TensorEntry],
    outputs: Sequence[TensorEntry],
    dataset: Dataset | None,
    given: BatchAxes | None,
) -> dict[str, int | None]:
    """The axis of images of every input whose images do not lie along the first.

    An input of fixed sizes that are those of one image of the data has no axis of images; without
    data, one whose first size is no number of images by what the network puts out.

    Raises:
        OptionError: An input has no such axis.
    """
    if given is None:
        alone = (
            one_image(inputs, outputs)
            if dataset is None
            else all(
                entry.shape is not None and tuple(entry.shape) == _image(dataset, entry.name)
                for entry in inputs
            )
        )
        return dict.fromkeys([entry.name for entry in inputs]) if alone else {}
    found = {entry.name: given.get(entry.name, 0) for entry in inputs}
    for entry in inputs:
        axis, shape = found[entry.name], entry.shape
        if axis and (shape is None or axis >= len(shape)):
            raise OptionError(
                f"--batch-axis is {axis} for input {entry.name!r}, whose shape is {shape}; "
                f"expected 0 to {len(shape or [0]) - 1}"
            )
    return {name: axis for name, axis in found.items() if axis != 0}


def _image(dataset: Dataset, name: str) -> tuple[int, ...]:
    return dataset.inputs.get(name, dataset.x).shape[1:]
