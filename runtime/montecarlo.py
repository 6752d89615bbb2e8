"""Monte Carlo over chips, at `cells` fidelity or as circuits.

With an ideal periphery a chip is the network with other weights (`Network`). It is held once as a
standard ONNX model whose crossbar weights are absent; each chip gets a session of onnxruntime's own
kernels with its programmed weights put in. As a circuit (`CircuitNetwork`) each chip gets a session
of the provider.

Chips run in parallel threads. Sessions and BLAS always have one thread, and a chip's cells, reads
and masks come from streams of its own, so a chip's value does not depend on how many run beside it.

A network that draws numbers at inference gets them through inputs (`nvmc.compiled.masks`); all its
images are run pass by pass, and the passes averaged (`nvmc.runtime.averaging`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nvmc.compiled.stack import Stack, name_in_stack
from nvmc.hardware.chip import Array, Chip
from nvmc.metrics import Metric, Total, total_of
from nvmc.runtime.averaging import mean_outputs
from nvmc.runtime.blas import single_threaded_blas
from nvmc.runtime.circuit_sessions import CircuitSessions, circuit_session
from nvmc.runtime.layout import LaidOut
from nvmc.runtime.networks import (
    CircuitNetwork,
    Network,
    Trial,
    check_chips,
    laid_out,
    masks_of,
    stack_laid_out,
)
from nvmc.runtime.sessions import open_model, run_batch, run_once
from nvmc.runtime.tally import Tally

_ort: Any = onnxruntime  # it is untyped

ENGINE = f"onnxruntime {_ort.__version__}"
"""What computes; another version may round differently."""

TRIAL = 1 << 40
"""Number of the first calibration image, among the images whose reads are numbered."""

LEAST = 8
"""Images a run, at least: kernels for a single row may round differently from those for many."""

__all__ = [
    "ENGINE",
    "ChipSession",
    "CircuitNetwork",
    "Feed",
    "Network",
    "Span",
    "corrections",
    "corrections_by",
    "default_jobs",
    "evaluate",
    "evaluate_chips",
    "in_parallel",
    "open_session",
    "outputs_of",
    "outputs_of_some",
]


@dataclass(frozen=True)
class Span:
    """Some of the images, along the order in which they are run."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """One past the last."""
        return self.first + self.count


@dataclass(frozen=True)
class Feed:
    """The images that chips are run on: input name -> array with the images along axis 0."""

    inputs: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def span(self) -> Span:
        """All of them."""
        return Span(0, len(self))

    def batch(self, first: int, size: int) -> dict[str, NDArray[Any]]:
        """`size` images from `first`, the last one repeated where the data end."""
        taken = {name: x[first : first + size] for name, x in self.inputs.items()}
        if first + size <= len(self):
            return taken
        missing = first + size - len(self)
        return {name: np.concatenate([x, x[-1:].repeat(missing, 0)]) for name, x in taken.items()}


def default_jobs() -> int:
    """Chips in parallel when nobody says: the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluate_chips(
    network: Network | CircuitNetwork,
    feed: Feed,
    metric: Metric,
    chips: Sequence[Chip],
    span: Span | None = None,
    *,
    jobs: int,
    on_chip: Callable[[int, Total], None] | None = None,
) -> NDArray[np.float64]:
    """What every chip scores on some images, in the order of `chips`.

    Args:
        network: The compiled network.
        feed: Images to run.
        metric: How outputs become one number.
        chips: The chips.
        span: Which images; all by default.
        jobs: Chips in parallel; changes nothing but the time.
        on_chip: Called with (position, total) as each chip is done, from its thread.

    Returns:
        Sums of `metric.add` over the images, shape (len(chips), *metric.shape). Those of
        neighbouring spans add up to that of both.
    """
    check_chips(network, min(jobs, len(chips)))
    totals = np.empty((len(chips), *metric.shape))
    images = span or feed.span
    size = network.stack.count if isinstance(network, Network) and network.stack else 1
    sessions = CircuitSessions(network) if isinstance(network, CircuitNetwork) else None
    shared = stack_laid_out(network, len(chips))

    def work(group: int, stop: Event) -> None:
        first = group * size
        some = chips[first : first + size]
        found = _evaluate(network, feed, metric, some, images, stop, sessions, shared)
        for position, total in enumerate(found, first):
            totals[position] = total
            if on_chip is not None and not stop.is_set():
                on_chip(position, total)

    in_parallel(work, -(-len(chips) // size), jobs)
    return totals


def in_parallel(work: Callable[[int, Event], None], count: int, jobs: int) -> None:
    """Call `work(number, stop)` for 0 … count - 1, up to `jobs` at once, BLAS on one thread each.

    `stop` is set when one of them fails, or the process is interrupted: the others should end.
    """
    numbers = iter(range(count))
    stop, lock = Event(), Lock()

    def worker() -> None:
        with single_threaded_blas():
            while not stop.is_set():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                work(number, stop)

    with ThreadPoolExecutor(max_workers=max(1, jobs), thread_name_prefix="nvmc-chip") as pool:
        try:
            workers = [pool.submit(worker) for _ in range(max(1, jobs))]
            done, _ = wait(workers, return_when=FIRST_EXCEPTION)
            for finished in done:
                finished.result()
        finally:
            stop.set()  # also when interrupted: the workers end with the batch at hand


def evaluate(network: Network | CircuitNetwork, feed: Feed, metric: Metric, chip: Chip) -> float:
    """The value of one chip on all images."""
    alone = replace(network, stack=None) if isinstance(network, Network) else network
    return metric.finish(_evaluate(alone, feed, metric, [chip], feed.span, Event())[0], len(feed))


def _evaluate(
    network: Network | CircuitNetwork,
    feed: Feed,
    metric: Metric,
    chips: Sequence[Chip],
    span: Span,
    stop: Event,
    sessions: CircuitSessions | None = None,
    shared: LaidOut | None = None,
) -> list[Total]:
    """What chips in one session score; NaN when `stop` was set before they were done.

    A stack that has more places than chips is filled up with the last chip.
    """
    if network.draws:
        outputs = ChipSession(network, chips[0], span).outputs(feed, stop, span)
        return [float("nan") if outputs is None else total_of(metric.add(outputs, span.first))]
    if isinstance(network, CircuitNetwork):
        kept = sessions or CircuitSessions(network)
        with kept.on(chips[0], span.first, span.count) as session:
            chip = ChipSession(network, chips[0], span, session)
            return _in_batches(chip, feed, metric, span, stop)
    if network.masks:
        return _in_batches(ChipSession(network, chips[0], span), feed, metric, span, stop)
    stack = network.stack
    if stack is None:
        session, names = open_session(network, chips[0]), [network.output]
    else:
        session = _open_stack(network, stack, chips, shared)
        names = [name_in_stack(network.output, chip) for chip in range(len(chips))]
    own = corrections(network, chips[0])
    tally = Tally(metric, span.first, len(names))
    size = _even_batch(network, span.count)
    for first in range(span.first, span.end, size):
        if stop.is_set():
            return [float("nan")] * len(names)
        inputs = feed.batch(first, size) | own
        found = run_batch(session, names, inputs, size, network.shape)
        tally.take([outputs[: span.end - first] for outputs in found])
    return tally.totals()


def _even_batch(network: Network, count: int) -> int:
    """Images a run, so that as few as can be are run in vain behind the last of `count`."""
    if network.fixed or count < 1:
        return network.batch
    runs = -(-count // network.batch)
    return min(network.batch, max(LEAST, -(-count // runs)))


def _in_batches(
    chip: ChipSession, feed: Feed, metric: Metric, span: Span, stop: Event
) -> list[Total]:
    tally = Tally(metric, span.first, 1)
    for _, outputs in chip.batches(feed, stop, span):
        tally.take([outputs])
    return [float("nan")] if stop.is_set() else tally.totals()


def outputs_of(network: Network | CircuitNetwork, feed: Feed, chip: Chip) -> NDArray[Any]:
    """The scored output of one chip for all images, along axis 0; the mean over its passes."""
    outputs = ChipSession(network, chip).outputs(feed)
    assert outputs is not None
    return outputs


def outputs_of_some(network: Network, feed: Feed, most: int) -> NDArray[Any]:
    """The output of the ideal chip for the first images, at most `most`, whatever its shape is.

    A network that takes one number of images only gets that number.
    """
    size = network.batch if network.fixed else min(most, len(feed))
    chip = Chip.ideal()
    masks = masks_of(network, chip)
    session = open_session(network, chip)
    return run_once(session, [network.output], feed.batch(0, size) | masks.feed(0, 0, size))[0]


class ChipSession:
    """One chip, ready to run images.

    The noise of its reads goes on from one set of images to the next; its masks are the same for
    all of them.

    Args:
        network: The network.
        chip: The chip.
        span: Images that will be run first: noise of reads is that of a session which has run
            those before.
        session: Of the chip; made where None.
    """

    def __init__(
        self,
        network: Network | CircuitNetwork,
        chip: Chip,
        span: Span | None = None,
        session: Any = None,
    ) -> None:
        self._network = network
        self._session = open_session(network, chip, span) if session is None else session
        self._masks = masks_of(network, chip)
        self._own = corrections(network, chip)

    def outputs(
        self, feed: Feed, stop: Event | None = None, span: Span | None = None
    ) -> NDArray[Any] | None:
        """The scored output for the images, the mean over passes; None once `stop` is set."""
        found = mean_outputs(self.passes(feed, stop, span), self._network.holds)
        return None if stop is not None and stop.is_set() else found

    def passes(
        self, feed: Feed, stop: Event | None = None, span: Span | None = None
    ) -> Iterator[NDArray[Any]]:
        """The scored output of each pass for the images, along axis 0; no more once `stop` is set.

        Passes are run one after the other, each on all images, and no batch is larger than the
        images left: an image's reads have the same numbers whatever the batch.
        """
        for number in range(self._network.passes):
            found = [outputs for _, outputs in self.batches(feed, stop, span, number)]
            if stop is not None and stop.is_set():
                return
            yield np.concatenate(found)

    def batches(
        self, feed: Feed, stop: Event | None = None, span: Span | None = None, number: int = 0
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """One pass batch by batch: the first image's place, and the scored output."""
        network, images = self._network, span or feed.span
        shape = network.shape
        for first in range(images.first, images.end, network.batch):
            if stop is not None and stop.is_set():
                return
            size = network.batch if network.fixed else min(network.batch, images.end - first)
            inputs = feed.batch(first, size) | self._masks.feed(number, first, size) | self._own
            outputs = run_batch(self._session, [network.output], inputs, size, shape)[0]
            shape = outputs.shape[1:]
            yield first, outputs[: images.end - first]


def corrections(network: Network | CircuitNetwork, chip: Chip) -> dict[str, NDArray[Any]]:
    """What a chip that is calibrated on images corrects itself by: inputs of the network.

    Its reads of these images are numbered from `TRIAL` on, so that those of the images that it is
    judged on are the same with and without.

    Raises:
        ModelError: onnxruntime refuses the trial, or fails.
    """
    return {} if network.trial is None else corrections_by(network.trial, chip)


def corrections_by(trial: Trial, chip: Chip) -> dict[str, NDArray[Any]]:
    """What a trial finds of a chip, by the names of its outputs; see `corrections`."""
    session = open_session(trial.network, chip, Span(TRIAL, trial.images))
    return dict(zip(trial.names, run_once(session, trial.names, trial.inputs), strict=True))


def open_session(network: Network | CircuitNetwork, chip: Chip, span: Span | None = None) -> Any:
    """A one-thread `onnxruntime.InferenceSession` of one chip.

    Args:
        network: The network.
        chip: The chip.
        span: Images that will be run first: reads go on from there.

    Raises:
        ModelError: onnxruntime refuses the network.
    """
    if isinstance(network, CircuitNetwork):
        images = span or Span(0, network.batch)
        return circuit_session(network, chip, images.first, images.count)
    arrays = {array.name: array for array in network.arrays}
    shared = laid_out(network)
    if shared is not None:
        return shared.session(lambda name: _weights(network, arrays[name], chip))
    weights = {name: _weights(network, array, chip) for name, array in arrays.items()}
    return open_model(network.model, weights)


def _open_stack(
    network: Network, stack: Stack, chips: Sequence[Chip], shared: LaidOut | None
) -> Any:
    weights: dict[str, NDArray[Any]] = {}
    for array in network.arrays:
        each = [_weights(network, array, chip) for chip in chips]
        each += each[-1:] * (stack.count - len(each))
        if array.name in stack.joined:
            weights[array.name] = np.concatenate(each)
        else:
            weights |= {name_in_stack(array.name, chip): w for chip, w in enumerate(each)}
    if shared is not None:
        return shared.session(weights.__getitem__)
    return open_model(stack.model, weights)


def _weights(network: Network, array: Array, chip: Chip) -> NDArray[Any]:
    weights = chip.weights(array).astype(network.dtypes[array.name], copy=False)
    return np.asarray(weights, order="C")  # a bias may be a single number, without axes
