"""Run an exported model in another runtime: `python consumers.py NAME model.onnx in.npy out.npy`.

Each runtime has a process of its own: several bring their own LLVM, and some end the process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
XDSL = "xdsl"
"""The module of what reads `--to mlir`, in run_mlir.py."""
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "iree": "iree.compiler",
    "tvm": "tvm",
    "tract": "tract",
    "onnx2torch": "onnx2torch",
}
"""Name of a runtime -> the module that shows whether it is installed."""


def run_onnxruntime(model: Path, x: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_openvino(model: Path, x: Array) -> Array:
    import openvino

    # Without hints the CPU may compute in bfloat16.
    compiled = openvino.compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([x])[0]


def run_iree(model: Path, x: Array) -> Array:
    import iree.compiler as compiler
    import iree.runtime as runtime
    import onnx
    from iree.compiler import ir
    from iree.compiler.extras import onnx_importer

    proto = onnx.shape_inference.infer_shapes(onnx.load(model), data_prop=True)
    info = onnx_importer.ModelInfo(proto)
    module = info.create_module(context=ir.Context()).operation
    importer = onnx_importer.NodeImporter.define_function(info.main_graph, module)
    importer.import_all()
    binary = compiler.compile_str(str(module), target_backends=["llvm-cpu"], input_type="onnx")
    config = runtime.Config("local-task")
    context = runtime.SystemContext(config=config)
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, binary))
    names = context.modules.module.vm_module.function_names
    (name,) = (name for name in names if name in ("main_graph", info.main_graph.graph_proto.name))
    return np.asarray(context.modules.module[name](x))


def run_tvm(model: Path, x: Array) -> Array:
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(model), keep_params_in_input=False)
    module = relax.transform.LegalizeOps()(module)
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    found = machine["main"](tvm.runtime.tensor(x))
    return (found if hasattr(found, "numpy") else found[0]).numpy()


def run_tract(model: Path, x: Array) -> Array:
    import tract

    made = tract.onnx().load(str(model))
    made = made.into_model() if hasattr(made, "into_model") else made.into_tract()
    return made.into_runnable().run([x])[0].to_numpy()


def run_onnx2torch(model: Path, x: Array) -> Array:
    import torch
    from onnx2torch import convert

    with torch.no_grad():
        return convert(str(model)).eval()(torch.from_numpy(x)).numpy()


RUN: dict[str, Callable[[Path, Array], Array]] = {
    "onnxruntime": run_onnxruntime,
    "openvino": run_openvino,
    "iree": run_iree,
    "tvm": run_tvm,
    "tract": run_tract,
    "onnx2torch": run_onnx2torch,
}

if __name__ == "__main__":
    name, model, given, found = sys.argv[1:]
    np.save(found, RUN[name](Path(model), np.load(given)))
