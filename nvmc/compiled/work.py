"""The nodes of a compiled network in the manifest, and what work they do for one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from nvmc.errors import ModelError

__all__ = ["DigitalEntry", "Entry", "LayerEntry", "Shape", "Work", "check_share", "dearest"]


class Entry(BaseModel):
    """A row of the manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Shape = list[int | None] | None
"""Sizes of one image's values, null where the network does not fix one; null if nothing is known.
"""


class LayerEntry(Entry):
    """One node that runs on crossbars; shapes and products are for one image.

    Attributes:
        name: Name of the node.
        op: Its `nvmc` operator.
        arrays: The arrays it reads: of recurrent layers the input's and the state's.
        input_shape: Of its activation input, without the images' axis; null of a parameter.
        output_shape: Of its first output, likewise.
        products: Vectors that each of its arrays is multiplied with, counted once for every group
            and direction; null where sizes are not fixed, in subgraphs, and of a parameter.
        multiply_adds: Of its weights; null where that is not known, 0 of a parameter.
    """

    name: str
    op: str
    arrays: list[str]
    input_shape: Shape = None
    output_shape: Shape = None
    products: int | None = None
    multiply_adds: int | None = 0


class DigitalEntry(Entry):
    """One node that runs digitally, and why; multiply-adds are for one image.

    Attributes:
        name: Name of the node.
        op, domain: Its operator.
        reason: Why it is not mapped.
        multiply_adds: Of weights with activations in matrix products; null where not known.
        activation_multiply_adds: Of activations with activations, which no crossbar holds.
    """

    name: str
    op: str
    domain: str
    reason: str
    multiply_adds: int | None = 0
    activation_multiply_adds: int | None = 0


class Work(Entry):
    """Multiply-adds of a network's matrix products for one image, and where they are done.

    Attributes:
        mapped: Of weights on crossbars.
        digital: Of weights that were left digital.
        activations: Of two activations, such as attention's, which no crossbar holds.
        share: mapped / (mapped + digital); null where a digital node could not be counted, or
            where there is no product of weights.
        share_of_all: mapped / (mapped + digital + activations), likewise.
        assumed: Axes that the network leaves open, and the sizes that were taken for them.
        uncounted: Nodes whose multiply-adds are not known and are not among these numbers.
    """

    mapped: int
    digital: int
    activations: int
    share: float | None
    share_of_all: float | None
    assumed: dict[str, int]
    uncounted: list[str]

    @classmethod
    def of(
        cls, layers: list[LayerEntry], digital: list[DigitalEntry], assumed: dict[str, int]
    ) -> Work:
        """What the manifest's rows come to.

        Where a mapped node could not be counted, a share is still 1 if nothing is digital.
        """
        mapped = sum(entry.multiply_adds or 0 for entry in layers)
        left = sum(entry.multiply_adds or 0 for entry in digital)
        activations = sum(entry.activation_multiply_adds or 0 for entry in digital)
        unknown = [entry.name for entry in digital if entry.multiply_adds is None]
        inner = [entry.name for entry in layers if entry.multiply_adds is None]

        def share(rest: int) -> float | None:
            if unknown or (inner and rest) or not (inner or mapped + rest):
                return None
            return mapped / (mapped + rest) if mapped + rest else 1.0

        return cls(
            mapped=mapped,
            digital=left,
            activations=activations,
            share=share(left),
            share_of_all=share(left + activations),
            assumed=assumed,
            uncounted=[*inner, *unknown],
        )


def dearest(digital: Sequence[DigitalEntry], most: int = 3) -> list[tuple[str, str, int]]:
    """The operators and reasons with the most multiply-adds of weights that are digital.

    Returns:
        Operator, reason and multiply-adds for one image, the most first.
    """
    found: Counter[tuple[str, str]] = Counter()
    for entry in digital:
        found[entry.op, entry.reason] += entry.multiply_adds or 0
    return [(op, reason, number) for (op, reason), number in found.most_common(most) if number]


def check_share(work: Work, digital: Sequence[DigitalEntry], least: float | None) -> None:
    """Make sure that at least so much of the weights' multiply-adds is on crossbars.

    Args:
        work: Of the network.
        digital: Its digital nodes.
        least: The share, 0 to 1; None asks for nothing.

    Raises:
        ModelError: Less is, or it is not known.
    """
    if least is None or (work.share is not None and work.share >= least):
        return
    asked = f"at least {100 * least:g} % of the weights' multiply-adds are to be on crossbars"
    if work.share is None and not work.uncounted:
        raise ModelError(f"{asked}, but the network multiplies with no weights")
    if work.share is None:
        names = ", ".join(work.uncounted[:3])
        raise ModelError(
            f"{asked}, but those of {len(work.uncounted)} nodes cannot be counted ({names}); fix "
            "the sizes that the network leaves open, or leave require-mapped out"
        )
    whole = work.mapped + work.digital
    dear = [f"{op} {100 * n / whole:.4g} % ({why})" for op, why, n in dearest(digital)]
    raise ModelError(f"{asked}, but {100 * work.share:.4g} % are; digital: {', '.join(dear)}")
