"""The ONNX operators that can be trained: one table.

To add an operator: a function in one of the files here, and its row; where torch has the very
function, the row alone. One that is not of the standard domain is called DOMAIN:NAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import onnx_ir as ir
import torch
import torch.nn.functional as F

from nvmc.torchgraph.operators import (
    activation,
    arithmetic,
    attention,
    cells,
    convolution,
    creation,
    geometry,
    indexing,
    linear,
    logic,
    normalisation,
    padding,
    pooling,
    quantisation,
    random,
    recurrent,
    reduction,
    resize,
    shape,
)
from nvmc.torchgraph.operators.functions import binary, unary
from nvmc.torchgraph.operators.operator import Context, Operator

__all__ = ["OPERATORS", "Context", "Operator", "operator_of"]

OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "Abs": Operator(unary(torch.abs)),
        "Acos": Operator(unary(torch.acos)),
        "Acosh": Operator(unary(torch.acosh)),
        "Add": Operator(binary(torch.add), terms=("a", "b"), scalars=("b",)),
        "AffineGrid": Operator(geometry.affine_grid, host=("size",)),
        "And": Operator(binary(torch.logical_and)),
        "ArgMax": Operator(reduction.argmax),
        "ArgMin": Operator(reduction.argmin),
        "Asin": Operator(unary(torch.asin)),
        "Asinh": Operator(unary(torch.asinh)),
        "Atan": Operator(unary(torch.atan)),
        "Atanh": Operator(unary(torch.atanh)),
        "Attention": Operator(attention.attention, check=logic.unknown_type),
        "AveragePool": Operator(pooling.average_pool, check=padding.unknown_padding),
        "BatchNormalization": Operator(
            normalisation.batch_normalization,
            weights=("scale", "b"),
            statistics=("input_mean", "input_var"),
        ),
        "Bernoulli": Operator(random.bernoulli, random=True, check=logic.unknown_type),
        "BitShift": Operator(logic.bit_shift),
        "BitwiseAnd": Operator(binary(torch.bitwise_and)),
        "BitwiseNot": Operator(unary(torch.bitwise_not)),
        "BitwiseOr": Operator(binary(torch.bitwise_or)),
        "BitwiseXor": Operator(binary(torch.bitwise_xor)),
        "Cast": Operator(logic.cast, through=("x",), check=logic.unknown_type),
        "CastLike": Operator(logic.cast_like, through=("x",)),
        "Ceil": Operator(unary(torch.ceil)),
        "Celu": Operator(activation.celu),
        "CenterCropPad": Operator(padding.center_crop_pad, host=("shape",)),
        "Clip": Operator(
            activation.clip, through=("x",), fixed=("low", "high"), scalars=("low", "high")
        ),
        "Compress": Operator(indexing.compress, host=("condition",)),
        "Concat": Operator(shape.concat, through=("x",)),
        "ConstantOfShape": Operator(creation.constant_of_shape, host=("shape",)),
        "Conv": Operator(convolution.conv, weights=("w", "b"), check=padding.unknown_padding),
        "ConvTranspose": Operator(convolution.conv_transpose, weights=("w", "b")),
        "Cos": Operator(unary(torch.cos)),
        "Cosh": Operator(unary(torch.cosh)),
        "CumProd": Operator(reduction.cumprod, host=("axis",)),
        "CumSum": Operator(reduction.cumsum, host=("axis",)),
        "DepthToSpace": Operator(shape.depth_to_space),
        "DequantizeLinear": Operator(
            quantisation.dequantize_linear,
            through=("x",),
            fixed=("x_scale", "x_zero_point"),
            check=logic.unknown_type,
        ),
        "Det": Operator(linear.determinant),
        "Div": Operator(arithmetic.div, terms=("b",), through=("a",), scalars=("b",)),
        "Dropout": Operator(
            random.dropout,
            random=True,
            fixed=("ratio_input",),
            host=("ratio_input", "training_input"),
        ),
        "DynamicQuantizeLinear": Operator(quantisation.dynamic_quantize_linear),
        "Einsum": Operator(linear.einsum, weights=("x",)),
        "Elu": Operator(activation.elu),
        "Equal": Operator(binary(torch.eq)),
        "Erf": Operator(unary(torch.erf)),
        "Exp": Operator(unary(torch.exp)),
        "Expand": Operator(shape.expand, through=("x",), host=("shape",)),
        "EyeLike": Operator(creation.eye_like, check=logic.unknown_type),
        "Flatten": Operator(shape.flatten, through=("x",)),
        "Floor": Operator(unary(torch.floor)),
        "GRU": Operator(
            recurrent.gru,
            weights=("w", "r", "b"),
            states=("initial_h",),
            check=cells.unknown_activation,
        ),
        "Gather": Operator(
            indexing.gather, weights=("data",), through=("data",), scalars=("indices",)
        ),
        "GatherElements": Operator(indexing.gather_elements, weights=("data",)),
        "GatherND": Operator(indexing.gather_nd, weights=("data",)),
        "Gelu": Operator(activation.gelu),
        "Gemm": Operator(linear.gemm, weights=("a", "b", "c")),
        "GlobalAveragePool": Operator(pooling.global_average_pool),
        "GlobalLpPool": Operator(pooling.global_lp_pool),
        "GlobalMaxPool": Operator(pooling.global_max_pool),
        "Greater": Operator(binary(torch.gt)),
        "GreaterOrEqual": Operator(binary(torch.ge)),
        "GridSample": Operator(geometry.grid_sample, check=geometry.unknown_sampling),
        "GroupNormalization": Operator(normalisation.group_normalization, weights=("scale", "b")),
        "HardSigmoid": Operator(activation.hard_sigmoid),
        "HardSwish": Operator(unary(F.hardswish)),
        "Hardmax": Operator(activation.hardmax),
        "Identity": Operator(shape.identity, through=("x",)),
        "InstanceNormalization": Operator(
            normalisation.instance_normalization, weights=("scale", "b")
        ),
        "IsInf": Operator(logic.is_inf),
        "IsNaN": Operator(unary(torch.isnan)),
        "LRN": Operator(normalisation.local_response_normalization),
        "LSTM": Operator(
            recurrent.lstm,
            weights=("w", "r", "b", "p"),
            states=("initial_h", "initial_c"),
            check=cells.unknown_activation,
        ),
        "LayerNormalization": Operator(normalisation.layer_normalization, weights=("scale", "b")),
        "LeakyRelu": Operator(activation.leaky_relu),
        "Less": Operator(binary(torch.lt)),
        "LessOrEqual": Operator(binary(torch.le)),
        "Log": Operator(unary(torch.log)),
        "LogSoftmax": Operator(activation.log_softmax),
        "LpNormalization": Operator(normalisation.lp_normalization),
        "LpPool": Operator(pooling.lp_pool, check=padding.unknown_padding),
        "MatMul": Operator(linear.matmul, weights=("a", "b")),
        "Max": Operator(arithmetic.maximum),
        "MaxPool": Operator(pooling.max_pool, check=padding.unknown_padding),
        "MaxUnpool": Operator(pooling.max_unpool, host=("output_shape",)),
        "Mean": Operator(arithmetic.mean),
        "MeanVarianceNormalization": Operator(normalisation.mean_variance_normalization),
        "Min": Operator(arithmetic.minimum),
        "Mish": Operator(unary(F.mish)),
        "Mod": Operator(arithmetic.mod),
        "Mul": Operator(binary(torch.mul), terms=("a", "b"), through=("a", "b"), scalars=("b",)),
        "Neg": Operator(unary(torch.neg), through=("x",)),
        "NonZero": Operator(indexing.nonzero),
        "Not": Operator(unary(torch.logical_not)),
        "OneHot": Operator(indexing.one_hot, host=("depth",)),
        "Or": Operator(binary(torch.logical_or)),
        "PRelu": Operator(activation.prelu, weights=("slope",)),
        "Pad": Operator(
            padding.pad, through=("x",), fixed=("fill",), host=("given", "axes"), scalars=("fill",)
        ),
        "Pow": Operator(arithmetic.power, scalars=("y",)),
        "QuantizeLinear": Operator(
            quantisation.quantize_linear,
            through=("x",),
            fixed=("y_scale", "y_zero_point"),
            check=quantisation.unknown_codes,
        ),
        "RMSNormalization": Operator(normalisation.rms_normalization, weights=("scale",)),
        "RNN": Operator(
            recurrent.rnn,
            weights=("w", "r", "b"),
            states=("initial_h",),
            check=cells.unknown_activation,
        ),
        "RandomNormal": Operator(random.random_normal, random=True, check=logic.unknown_type),
        "RandomNormalLike": Operator(
            random.random_normal_like, random=True, check=logic.unknown_type
        ),
        "RandomUniform": Operator(random.random_uniform, random=True, check=logic.unknown_type),
        "RandomUniformLike": Operator(
            random.random_uniform_like, random=True, check=logic.unknown_type
        ),
        "Range": Operator(creation.ramp, near=("start", "limit", "delta")),
        "Reciprocal": Operator(unary(torch.reciprocal)),
        "ReduceL1": Operator(partial(reduction.reduced, kind="L1"), host=("given",)),
        "ReduceL2": Operator(partial(reduction.reduced, kind="L2"), host=("given",)),
        "ReduceLogSum": Operator(partial(reduction.reduced, kind="LogSum"), host=("given",)),
        "ReduceLogSumExp": Operator(partial(reduction.reduced, kind="LogSumExp"), host=("given",)),
        "ReduceMax": Operator(partial(reduction.reduced, kind="Max"), host=("given",)),
        "ReduceMean": Operator(partial(reduction.reduced, kind="Mean"), host=("given",)),
        "ReduceMin": Operator(partial(reduction.reduced, kind="Min"), host=("given",)),
        "ReduceProd": Operator(partial(reduction.reduced, kind="Prod"), host=("given",)),
        "ReduceSum": Operator(partial(reduction.reduced, kind="Sum"), host=("given",)),
        "ReduceSumSquare": Operator(partial(reduction.reduced, kind="SumSquare"), host=("given",)),
        "Relu": Operator(unary(torch.relu)),
        "Reshape": Operator(shape.reshape, through=("x",), host=("shape",)),
        "Resize": Operator(
            resize.resize, host=("first", "second", "sizes"), check=resize.unknown_resize
        ),
        "ReverseSequence": Operator(shape.reverse_sequence),
        "RotaryEmbedding": Operator(attention.rotary_embedding),
        "Round": Operator(arithmetic.rounded, through=("x",)),
        "Scatter": Operator(indexing.scatter_elements),
        "ScatterElements": Operator(indexing.scatter_elements),
        "ScatterND": Operator(indexing.scatter_nd),
        "Selu": Operator(activation.selu),
        "Shape": Operator(shape.shape_of),
        "Shrink": Operator(activation.shrink),
        "Sigmoid": Operator(unary(torch.sigmoid)),
        "Sign": Operator(arithmetic.sign, through=("x",)),
        "Sin": Operator(unary(torch.sin)),
        "Sinh": Operator(unary(torch.sinh)),
        "Size": Operator(shape.size_of),
        "Slice": Operator(
            shape.slices, through=("x",), host=("starts_input", "ends_input", "axes_input", "steps")
        ),
        "Softmax": Operator(activation.softmax),
        "Softplus": Operator(activation.softplus),
        "Softsign": Operator(unary(F.softsign)),
        "SpaceToDepth": Operator(shape.space_to_depth),
        "Split": Operator(shape.split, through=("x",), host=("given",)),
        "Sqrt": Operator(unary(torch.sqrt)),
        "Squeeze": Operator(shape.squeeze, through=("x",), host=("given",)),
        "Sub": Operator(binary(torch.sub), terms=("a", "b"), scalars=("b",)),
        "Sum": Operator(arithmetic.total, terms=("x",)),
        "Swish": Operator(activation.swish),
        "Tan": Operator(unary(torch.tan)),
        "Tanh": Operator(unary(torch.tanh)),
        "ThresholdedRelu": Operator(activation.thresholded_relu),
        "Tile": Operator(shape.tile, through=("x",), host=("repeats",)),
        "TopK": Operator(reduction.top_k, host=("given",)),
        "Transpose": Operator(shape.transpose, through=("x",)),
        "Trilu": Operator(shape.trilu, host=("k",)),
        "Unsqueeze": Operator(shape.unsqueeze, through=("x",), host=("given",)),
        "Upsample": Operator(resize.upsample, host=("given",), check=resize.unknown_resize),
        "Where": Operator(logic.where, through=("x", "y")),
        "Xor": Operator(binary(torch.logical_xor)),
    }
)


def operator_of(node: ir.Node) -> Operator | None:
    """The row of a node; None where its operator has none."""
    standard = node.domain in ("", "ai.onnx")
    return OPERATORS.get(node.op_type if standard else f"{node.domain}:{node.op_type}")
