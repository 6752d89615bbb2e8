"""FTNA: classes told apart by code bits, so that some of the bits may be wrong."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import onnx_ir as ir
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from nvmc.errors import TrainingError
from nvmc.passes.insert_code_head import InsertCodeHead, code_logits
from nvmc.torchgraph.tensors import Inputs
from nvmc.training.method import Method
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Ftna"]


class Ftna(Method):
    """An error-correcting output code instead of one output per class.

    The last layer gets one logistic output a bit of the code, trained with binary cross entropy
    against the label's code word; an image is of the class whose word is nearest. Words that
    differ in at least d bits forgive floor((d - 1) / 2) wrong bits. The last layer's weights are
    drawn anew from the seed; the decoding is part of the network and stays digital, so the file
    gives class scores (N, classes) to anyone (`nvmc.passes.insert_code_head`).

    Source: Liu et al., A fault-tolerant neural network architecture, DAC 2019 (no preprint; only
    its abstract was at hand): a "collaborative logistic classifier" of binary classifiers
    augmented from error-correcting output codes; BayesFT describes it in Sec. I and compares with
    it in Sec. IV. Dietterich and Bakiri, JAIR 1995, is the code's source. Left out: the paper's
    variable-length code words; all words here have one length.

    Attributes:
        length: Bits of a code word, a power of two, at least half the number of classes.
        decoding: `soft` compares the bits' probabilities with the words, `hard` the rounded bits.
    """

    kind: ClassVar[str] = "ftna"
    title: ClassVar[str] = "FTNA: error-correcting output code head (Liu, DAC 2019)"

    length: Annotated[int, Field(ge=2)] = 16
    decoding: Literal["soft", "hard"] = "soft"

    def check(self, task: Task) -> None:
        """Complain where the labels are no classes of whole images, or the length no power of two.

        Raises:
            TrainingError: The labels are of several axes.
            OptionError: The length is no power of two.
        """
        InsertCodeHead(self.length, self.decoding)
        labels = task.train.y
        if labels is None or labels.ndim != 1:
            raise TrainingError(
                "method 'ftna' classifies whole images and needs one label per image; "
                "use another method for dense prediction and for regression"
            )

    def prepare(self, model: ir.Model, task: Task) -> None:
        """Put the code bits in the place of the classes.

        Raises:
            TrainingError: One score stands for two classes.
        """
        reading = task.read(model)
        if reading.output != model.graph.outputs[0].name:
            raise TrainingError(
                "method 'ftna' codes the classes of the first output, but "
                f"{reading.output!r} is trained; export the network with it first"
            )
        if reading.by_sign:
            raise TrainingError(
                "method 'ftna' codes classes, and the network has one score for two of them (or "
                "for a label); export it with a score for each, or use another method"
            )
        InsertCodeHead(self.length, self.decoding, task.settings.seed)(model)

    def begin(self, run: Run) -> None:
        """Read the code book from the network."""
        found = code_logits(run.model)
        if found is None:
            raise TrainingError("the network has no head of code bits; call prepare first")
        logits, book = found
        words = torch.from_numpy(book.astype(np.float32)).to(run.task.settings.accelerator)
        run.memory["logits"], run.memory["book"] = logits, words

    def loss(
        self, run: Run, replica: Replica, x: Inputs, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean binary cross entropy of the bits against the labels' words."""
        weights = self.weights(run, replica, generator)
        logits = run.memory["logits"]
        bits = replica.values(x, (logits,), weights, generator)[logits]
        return functional.binary_cross_entropy_with_logits(bits, run.memory["book"][y])

    def summary(self, run: Run) -> dict[str, Any]:
        """Length and least distance of the code."""
        book: Tensor = run.memory["book"]
        apart = torch.cdist(book, book, p=0).add(torch.eye(len(book)).to(book) * book.shape[1])
        least = int(apart.min())
        return {"length": book.shape[1], "distance": least, "corrects": (least - 1) // 2}
