"""Second derivatives of a network's loss with respect to each of its weights."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from nvmc.errors import TrainingError
from nvmc.rng import stream
from nvmc.torchgraph.graph import Graph

__all__ = ["EXACT", "curvatures"]

EXACT = 16
"""Most numbers that an image's output holds for the derivatives to be exact; beyond, they are those
of one random direction an image."""
_LEAST = 1e-30
"""Probabilities are at least this, so that they have a logarithm."""


def curvatures(
    model: ir.Model,
    weights: Mapping[str, NDArray[Any]],
    images: Mapping[str, NDArray[Any]],
    output: str,
    holds: str,
    *,
    batch: int = 1,
) -> dict[str, NDArray[np.float64]]:
    """The diagonal of the loss's Gauss-Newton matrix, mean over images.

    The loss is the cross-entropy of the classes along axis 1, or of values 1/2 (y - t)^2; its mean
    over the decisions of an image. For each weight w

        sum_c p_c (dz_c/dw)^2 - (sum_c p_c dz_c/dw)^2   of scores z with p = softmax(z)
        sum_c (dz_c/dw)^2                               of values

    which is d2f/dw2 where outputs are linear in the weight by itself, as in every network of
    layers, ReLU and pooling. It does not depend on labels or targets. The backward pass is run on
    the columns of a root of the loss's own second derivatives, diag(p) - p p^T: on every column for
    at most `EXACT` numbers an image; else on one random vector with that covariance, which is right
    in the mean (Fisher's information). Decisions of one image, and images that the network takes
    only together, are told apart by random signs, right in the mean too. The same call gives the
    same bits on one machine.

    Source: Schraudolph, Neural Computation 14 (2002), for the matrix; Martens, Sutskever, Swersky,
    ICML 2012, for random directions. Yan, Hu, Shi (DAC 2022, Eq. 6 to 10) propagate diagonals only.

    Cost: a forward pass an image, and a backward pass a direction.

    Args:
        model: The network, its weights among its inputs.
        weights: The weights by name.
        images: The other inputs by name, images along the first axis.
        output: Name of the output.
        holds: What it holds: `scores`, `probabilities`, `log-probabilities` or `values`.
        batch: Images that the network takes at a time, 1 where that is free.

    Returns:
        An array like each of `weights`.

    Raises:
        TrainingError: torch cannot run the network, or the output has no gradient.
    """
    graph = Graph.of(model).eval()
    leaves = {
        name: torch.from_numpy(np.array(array)).requires_grad_() for name, array in weights.items()
    }
    total = {name: np.zeros(array.shape) for name, array in weights.items()}
    count = len(next(iter(images.values())))
    with _one_order():
        for first in range(0, count, batch):
            x = {k: _tensor(array[first : first + batch]) for k, array in images.items()}
            found = _output(graph, {**x, **leaves}, output)
            draw = stream(0, first, "curvature")
            for gradients in _gradients(found, list(leaves.values()), holds, draw):
                for name, gradient in zip(leaves, gradients, strict=True):
                    if gradient is not None:
                        total[name] += np.square(gradient.numpy().astype(np.float64))
    return {name: sums / count for name, sums in total.items()}


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _output(graph: Graph, x: Mapping[str, Tensor], output: str) -> Tensor:
    try:
        found: Tensor = graph(x, wanted=[output])[output]
    except TrainingError:
        raise
    except Exception as error:  # torch raises many types without a common base
        lines = [*str(error).splitlines()[:1], *getattr(error, "__notes__", [])]
        raise TrainingError(f"torch cannot run the network: {' '.join(lines)}") from error
    if not found.requires_grad:
        raise TrainingError(f"output {output!r} has no gradient by the weights on crossbars")
    return found


def _gradients(
    found: Tensor, leaves: list[Tensor], holds: str, draw: np.random.Generator
) -> Iterator[tuple[Tensor | None, ...]]:
    """Gradients of the outputs along directions whose squares add up to the curvature."""
    scores, directions = _directions(found, holds, draw)
    for i, direction in enumerate(directions):
        last = i + 1 == len(directions)
        yield torch.autograd.grad(
            scores, leaves, torch.from_numpy(direction), retain_graph=not last, allow_unused=True
        )


def _directions(
    found: Tensor, holds: str, draw: np.random.Generator
) -> tuple[Tensor, list[NDArray[Any]]]:
    """What is derived, and along which directions: arrays like it."""
    if holds == "values" or found.dim() < 2:
        numbers = found.reshape(len(found), -1)
        made = _of_values(tuple(numbers.shape), draw)
        return numbers, _typed(made / np.sqrt(numbers.shape[1]), numbers)
    scores = torch.log(found.clamp_min(_LEAST)) if holds == "probabilities" else found
    scores = torch.movedim(scores, 1, -1).reshape(-1, found.shape[1])  # a row a decision
    own = torch.softmax(scores.detach().double(), dim=1).numpy()
    made = _of_classes(own, len(scores) == 1, draw)
    return scores, _typed(made / np.sqrt(len(scores) / len(found)), scores)


def _typed(directions: NDArray[Any], like: Tensor) -> list[NDArray[Any]]:
    kind: np.dtype[Any] = torch.zeros(0, dtype=like.dtype).numpy().dtype
    return [np.ascontiguousarray(one, kind) for one in directions]


def _of_values(shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.float64]:
    """Directions of shape (directions, images, numbers) for second derivatives of 1."""
    images, numbers = shape
    signs = draw.integers(0, 2, shape).astype(np.float64) * 2 - 1
    if numbers > EXACT:
        return signs[None]
    one_by_one: NDArray[np.float64] = np.eye(numbers)[:, None, :] * np.ones((1, images, 1))
    return one_by_one * signs[None] if images > 1 else one_by_one


def _of_classes(
    own: NDArray[np.float64], alone: bool, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Directions of shape (directions, decisions, classes) for cross-entropy with these p."""
    decisions, classes = own.shape
    signs = 1.0 if alone else draw.integers(0, 2, (decisions, 1)) * 2.0 - 1
    if classes <= EXACT:
        columns = np.eye(classes)[:, None, :] - own[None]  # (classes, decisions, classes)
        roots: NDArray[np.float64] = np.sqrt(own.T)[:, :, None]
        return roots * columns * signs
    thresholds = draw.random((decisions, 1))
    chosen = (np.cumsum(own, axis=1) < thresholds * own.sum(axis=1, keepdims=True)).sum(axis=1)
    direction = -own
    direction[np.arange(decisions), np.minimum(chosen, classes - 1)] += 1
    return (direction * signs)[None]


@contextmanager
def _one_order() -> Generator[None]:
    """In the block torch has one thread: more would split its sums another way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
