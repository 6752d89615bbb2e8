"""The pipeline behind `nvmc train`: an ONNX network in, the same with better weights out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from nvmc.arguments import checked
from nvmc.compiled.artifact import replacing_file
from nvmc.errors import ModelError, NvmcError, OptionError
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.feed_masks import draws_numbers
from nvmc.passes.fold_constants import Fold
from nvmc.passes.graph.mappable import FLOATS, initializer_of
from nvmc.passes.io.load import load_model
from nvmc.runtime.saving import save_checked
from nvmc.torchgraph.graph import write_values
from nvmc.torchgraph.repeatable import repeatable
from nvmc.training.bounds import bounds_apart
from nvmc.training.circuit.choice import left_out
from nvmc.training.computed import ComputedWeight, begun, computed_weights, digest_of
from nvmc.training.evaluation import finished_network, judge_source
from nvmc.training.loop import Loop
from nvmc.training.method import Method
from nvmc.training.outcome import Epoch, Outcome
from nvmc.training.preparation import canonical_network, fitted, identity_of, prepared_network
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["train"]


@checked
def train(
    source: str | Path,
    task: Task,
    method: Method,
    *,
    output: str | Path,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Outcome:
    """Train an ONNX network for its cells; the same call gives the same weights, resumed or not.

    Args:
        source: The ONNX file; never written to.
        task: Cells, data and settings; `make_task` makes one.
        method: A row of `nvmc.training.methods.METHODS` with its options.
        output: The ONNX file to write.
        checkpoint: File that every epoch is kept in until the network is written.
        resume: Go on from the checkpoint instead of from the start.
        on_epoch: Called after every epoch that is run.

    Raises:
        NvmcError: One of its children, by what is wrong; `output` is not touched then.
    """
    path, result = Path(source), Path(output)
    kept = None if checkpoint is None else Path(checkpoint)
    _check_files(path, result, kept, resume)
    network, computed = _read(path, task)
    task = fitted(task, network, method)
    with _deterministic():
        run = _begun(path, network, task, method, computed)
        loop = Loop(run, method, kept, _identity(network, task, method, computed))
        if resume:
            loop.resume()
        resumed = len(loop.epochs)
        before = judge_source(network, task)  # many chips: what can be refused has been
        replica = loop.train(on_epoch)
        after = run.judged(replica)
        model, canonical = _finished(path, run, method, replica)
        dropout_off = draws_numbers(model) and not draws_numbers(run.model)
    with replacing_file(result) as temporary:
        save_checked(model, temporary, path)
    if kept is not None:
        kept.unlink(missing_ok=True)
    return Outcome(
        method=method.kind,
        options=method.model_dump(mode="json"),
        before=before,
        after=after,
        kept=loop.kept,
        epochs=tuple(loop.epochs),
        resumed=resumed,
        stopped=loop.stopped,
        seconds=sum(epoch.seconds for epoch in loop.epochs),
        canonical=canonical,
        dropout_off=dropout_off,
        summary=method.summary(run),
        reading=run.reading,
        **_forms(network, computed, run, replica),
    )


def _read(source: Path, task: Task) -> tuple[ir.Model, list[ComputedWeight]]:
    """The network in canonical form, and the weights that it computes."""
    folds: list[Fold] = []
    network = canonical_network(source, task.options, folds)
    return network, computed_weights(network, folds)


def _identity(
    network: ir.Model, task: Task, method: Method, computed: Sequence[ComputedWeight]
) -> dict[str, str]:
    """What decides the numbers of the run, latent weights among it."""
    return {**identity_of(network, task, method), "latent weights": digest_of(computed)}


def _forms(
    network: ir.Model, computed: Sequence[ComputedWeight], run: Run, replica: Replica
) -> dict[str, Any]:
    """How weights were trained: computed and binary ones, bounds, what was `auto`, the circuit."""
    names, crossbars = replica.computed.names, replica.crossbars
    ages = any(one.crossbars.drew_ages for one in run.replicas)
    return {
        "computed": {w.name: w.operators for w in computed if w.name in names and w.is_weight},
        "bounds": replica.computed.bounds,
        "bounds_apart": tuple(name for name in bounds_apart(network) if name not in names),
        "binary": crossbars.binary,
        "unbinarised": crossbars.unbinarised,
        "clip": run.task.settings.clip,
        "rate": run.task.settings.highest_rate,
        "circuit": replica.circuit is not None,
        "ages": ages,
        "left_out": left_out(run.task, [one.circuit for one in run.replicas], ages),
    }


def _begun(
    source: Path,
    network: ir.Model,
    task: Task,
    method: Method,
    computed: Sequence[ComputedWeight],
) -> Run:
    """The run before its first epoch."""
    prepared = prepared_network(network, task, method)
    weights = begun(computed, prepared, task.settings.init == "random")
    run = Run(prepared, task, method.replicas, weights)
    if not run.replicas[0].crossbars.names:
        raise ModelError(f"{str(source)!r} has no layer with trained weights on crossbars")
    method.begin(run)
    return run


@contextmanager
def _deterministic() -> Generator[None]:
    """Torch's algorithms repeat themselves in the block; on CUDA as far as they can.

    Its number of threads, which a resumed run takes from its checkpoint, is as before behind it.
    """
    threads = torch.get_num_threads()
    try:
        with repeatable(warn_only=torch.cuda.is_available()):
            yield
    finally:
        torch.set_num_threads(threads)


def _check_files(source: Path, output: Path, checkpoint: Path | None, resume: bool) -> None:
    if output.resolve() == source.resolve():
        raise OptionError(f"{str(output)!r} is the source; the source is never overwritten")
    if output.is_dir():
        raise OptionError(f"{str(output)!r} is a folder; give the name of an ONNX file to write")
    if output.exists() and not output.is_file():
        raise OptionError(f"{str(output)!r} is no regular file; give the name of an ONNX file")
    if checkpoint is not None:
        _check_checkpoint(source, output, checkpoint)
    for file in (output, checkpoint):
        if file is not None and not file.absolute().parent.is_dir():
            raise OptionError(f"there is no folder {str(file.parent)!r} to write {file.name!r} to")
    if resume and checkpoint is None:
        raise OptionError("there is nothing to resume from; name the checkpoint")
    if checkpoint is not None and not resume and checkpoint.exists():
        raise OptionError(
            f"{str(checkpoint)!r} holds a run that has not ended; resume it, or remove the file"
        )


def _check_checkpoint(source: Path, output: Path, checkpoint: Path) -> None:
    if checkpoint.is_dir():
        raise OptionError(f"{str(checkpoint)!r} is a folder; give the name of a file to keep")
    for file, what in ((source, "source"), (output, "result")):
        if checkpoint.resolve() == file.resolve():
            raise OptionError(
                f"{str(checkpoint)!r} is the {what}; keep the checkpoint in a file of its own"
            )


def _finished(source: Path, run: Run, method: Method, replica: Replica) -> tuple[ir.Model, bool]:
    """The trained network: the source's own graph where all weights stand in it as such."""
    task = run.task
    model = None if replica.activations else _home(source, method, task, replica)
    canonical = model is None
    if model is None:
        model = finished_network(run.model, replica, task.options)
    method.finish(run, model)
    return model, canonical


def _home(source: Path, method: Method, task: Task, replica: Replica) -> ir.Model | None:
    """The source with what the method inserts and the weights; None where it cannot hold them."""
    model, values = load_model(source), replica.latent()
    try:
        method.prepare(model, task)
    except NvmcError:  # it wants the canonical form
        return None
    for name, value in values.items():
        found = initializer_of(model.graph.initializers.get(name))
        if found is None or tuple(found.shape.numpy()) != value.shape:
            return None
        if found.dtype not in FLOATS - {ir.DataType.BFLOAT16}:  # no runtime runs bfloat16
            return None
    write_values(model, values)
    return model if _holds(model, replica) else None


def _holds(model: ir.Model, replica: Replica) -> bool:
    """Whether the network computes with the trained weights, not with their transpose, or rounded.

    Those that it computes from others are torch's but for rounding.
    """
    canonical = model.clone()
    Canonicalize()(canonical)
    for name, value in replica.numbers().items():
        found = initializer_of(canonical.graph.initializers.get(name))
        if found is None:
            return False
        weight = found.numpy()
        exact = np.array_equal(weight, value.astype(weight.dtype))
        near = name in replica.computed.names and np.allclose(weight, value, 1e-3, 1e-6)
        if not exact and not near:
            return False
    return True
