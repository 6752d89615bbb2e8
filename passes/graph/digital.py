"""Why an operator that no `nvmc` operator stands for runs digitally."""

from __future__ import annotations

__all__ = ["digital_reason"]

_CLASSES = {
    "element-wise, no multiply-accumulate": """Abs Acos Acosh Add And Asin Asinh Atan Atanh
        BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh Div Elu Equal
        Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less
        LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
        Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu
        Where Xor""",
    "moves or converts data, no multiply-accumulate": """Cast CastLike Compress Concat Constant
        ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND Identity
        NonZero OneHot Pad Range Reshape Resize ReverseSequence Scatter ScatterElements ScatterND
        Shape Size Slice SpaceToDepth Split Squeeze TensorScatter Tile TopK Transpose Trilu Unique
        Unsqueeze Upsample""",
    "pooling, no weight": """AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool
        MaxRoiPool MaxUnpool RoiAlign""",
    "reduction, no weight": """ArgMax ArgMin CumProd CumSum ReduceL1 ReduceL2 ReduceLogSum
        ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare""",
    "normalisation, no matrix product": """BatchNormalization GroupNormalization Hardmax
        InstanceNormalization LRN LayerNormalization LogSoftmax LpNormalization
        MeanVarianceNormalization RMSNormalization Softmax""",
    "dropout, no matrix product": "Dropout",
    "draws random numbers": """Bernoulli Multinomial RandomNormal RandomNormalLike
        RandomUniform RandomUniformLike""",
    "fake quantisation of activations": """DequantizeLinear DynamicQuantizeLinear QuantizeLinear""",
    "control flow; what it holds is mapped by itself": "If Loop Scan SequenceMap",
    "an integer product in another form than MatMul or Conv of float numbers has": """ConvInteger
        MatMulInteger QLinearConv QLinearMatMul""",
    "multiplies activations with activations": "Attention LinearAttention",
    "not mapped; write the product as MatMul or Conv to map it": "DeformConv",
    "not an Einsum of two operands that MatMul can compute": "Einsum",
}

_REASONS: dict[str, str] = {}
for _reason, _operators in _CLASSES.items():
    for _operator in _operators.split():
        if _operator in _REASONS:
            raise RuntimeError(f"{_operator} has two reasons in nvmc.passes.graph.digital")
        _REASONS[_operator] = _reason


def digital_reason(domain: str, op_type: str) -> str:
    """The reason, for the manifest's table of digital nodes."""
    if domain:
        return f"operator of domain {domain!r}, which nvmc does not map"
    return _REASONS.get(op_type, f"{op_type} is not mapped")
