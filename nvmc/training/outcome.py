"""What a training run did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from nvmc.compiled.options import Calibration
from nvmc.evaluation.reading import Reading

__all__ = ["Epoch", "Judged", "Outcome"]


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss.
        kpp: k-th percentile performance on held-out images; None where none was taken.
        best: Whether no KPP before was higher.
        seconds: Wall-clock time, the KPP included.
    """

    epoch: int
    loss: float
    kpp: float | None
    best: bool
    seconds: float


@dataclass(frozen=True)
class Judged:
    """A network on held-out images.

    Attributes:
        ideal: Accuracy (or R^2) of the chip whose every cell is on target.
        kpp: k-th percentile of it over chips.
        calibration: The images that ranges come from, of activations where the network came
            without them, and of converters; None where there are no such ranges.
        mapped_share: Share of the weights' multiply-adds that is on crossbars; None where not
            known.
    """

    ideal: float
    kpp: float
    calibration: Calibration | None = None
    mapped_share: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished training run.

    Attributes:
        method: Its kind.
        options: The method's options.
        before: The network that came in.
        after: The network that came out.
        kept: Number of the epoch whose weights it has.
        epochs: All epochs, in order.
        resumed: How many of them had been run before a resumption.
        stopped: Whether training stopped early.
        seconds: Wall-clock time of all epochs, also those before a resumption.
        canonical: Whether the file holds nvmc's canonical form, because the weights do not all
            stand as such in the source.
        dropout_off: Whether the file drops at inference, and the KPPs are those without.
        summary: What the method found.
        reading: How the output that was trained is read.
        computed: Weights that the network computes, with what computes them: what they are computed
            from was trained.
        bounds: Learned bounds (`PACT`) and steps (`LSQ`) of quantisers that were trained.
        bounds_apart: Bounds that were not, as their steps stand as numbers of their own.
        binary: Weights that were binary in the source, and are, in one bit.
        unbinarised: Such weights that more bits made real numbers.
        clip: Standard deviations that weights on crossbars were clamped to, or `learned`; None
            where they were not.
        rate: Highest learning rate.
        ages: Whether chips of several ages were drawn.
        circuit: Whether gradients saw the circuit: converters, tiles, wires or reads.
        left_out: What KPPs have of the circuit, but gradients did not see, in words.
    """

    method: str
    options: dict[str, Any]
    before: Judged
    after: Judged
    kept: int
    epochs: tuple[Epoch, ...]
    resumed: int
    stopped: bool
    seconds: float
    canonical: bool
    dropout_off: bool
    summary: dict[str, Any]
    reading: Reading
    computed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    bounds: dict[str, str] = field(default_factory=dict[str, str])
    bounds_apart: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()
    unbinarised: tuple[str, ...] = ()
    clip: float | str | None = None
    rate: float | None = None
    ages: bool = False
    circuit: bool = False
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "reading": self.reading.to_json()}
