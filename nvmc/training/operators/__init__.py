"""The ONNX operators that can be trained: one table.

To add an operator: a function in one of the files here, and its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nvmc.training.operators import (
    activation,
    arithmetic,
    convolution,
    linear,
    normalisation,
    pooling,
    random,
    shape,
)
from nvmc.training.operators.operator import Context, Operator

__all__ = ["OPERATORS", "Context", "Operator"]

OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "Add": Operator(arithmetic.add, terms=("a", "b")),
        "BatchNormalization": Operator(
            normalisation.batch_normalization,
            weights=("scale", "b"),
            statistics=("input_mean", "input_var"),
        ),
        "Conv": Operator(convolution.conv, weights=("w", "b")),
        "Div": Operator(arithmetic.div, terms=("a", "b")),
        "Dropout": Operator(random.dropout, host=("ratio_input", "training_input")),
        "Flatten": Operator(shape.flatten, through=("x",)),
        "Gemm": Operator(linear.gemm, weights=("a", "b", "c")),
        "Identity": Operator(shape.identity, through=("x",)),
        "MatMul": Operator(linear.matmul, weights=("a", "b")),
        "MaxPool": Operator(pooling.max_pool),
        "Mul": Operator(arithmetic.mul, terms=("a", "b")),
        "Relu": Operator(activation.relu),
        "Reshape": Operator(shape.reshape, through=("x",), host=("shape",)),
        "Softmax": Operator(activation.softmax),
        "Sub": Operator(arithmetic.sub, terms=("a", "b")),
    }
)
