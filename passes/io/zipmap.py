"""Read past ZipMap: scikit-learn's class probabilities as the tensor that they are made of."""

from __future__ import annotations

from typing import Any

import onnx

from nvmc.errors import ModelError

__all__ = ["cut_zip_maps"]


def cut_zip_maps(proto: onnx.ModelProto, where: str) -> None:
    """Put a ZipMap's input in the place of its output, a sequence of maps that names the classes.

    Args:
        proto: Changed in place.
        where: The file, for the message.

    Raises:
        ModelError: An output is a map, or a sequence of maps, that no ZipMap makes.
    """
    graph = proto.graph
    zip_maps = (n for n in graph.node if n.op_type == "ZipMap" and n.input and n.output)
    zipped = {node.output[0]: node for node in zip_maps}
    for output in graph.output:
        if not _holds_maps(output.type):
            continue
        node = zipped.pop(output.name, None)
        if node is None:
            raise ModelError(
                f"{where}: output {output.name!r} holds maps, which are no tensors; export the "
                "network with tensors for outputs (skl2onnx: zipmap=False)"
            )
        known = [v for v in (*graph.value_info, *graph.output) if v.name == node.input[0]]
        graph.node.remove(node)
        output.name = node.input[0]
        output.type.CopyFrom(known[0].type if known else _scores())


def _holds_maps(kind: Any) -> bool:
    which = kind.WhichOneof("value")
    return which == "map_type" or (
        which == "sequence_type" and _holds_maps(kind.sequence_type.elem_type)
    )


def _scores() -> Any:
    """Real numbers, (images, classes)."""
    value = onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [None, None])
    return value.type
