"""Small networks of several tiles, in training behind a periphery."""

from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from nvmc.compiled.options import CompileOptions
from nvmc.compiler import MappedNetwork
from nvmc.data import Dataset
from nvmc.hardware.chip import Chip
from nvmc.hardware.devices import Target
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.graph.describe import serialized
from nvmc.runtime.provider import make_session
from nvmc.training import Settings
from nvmc.training.evaluation import finished_network, mapped
from nvmc.training.replica import Replica
from nvmc.training.task import Task
from onnx_text import model_of

CONV = """g (float[N,3,7,7] x) => (float[N,4] y)
<float[6,3,3,3] w1, float[6] b1, float[8,3,3,3] w2, float[200,4] w3, float[4] b3> {
  h = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
  a = Relu (h)
  g = Conv <group = 2, strides = [1, 1], pads = [0, 0, 0, 0]> (a, w2)
  s = Tanh (g)
  f = Flatten <axis = 1> (s)
  y = Gemm (f, w3, b3)
}"""

TALL = """g (float[N,40] x) => (float[N,5] y)
<float[40,30] w1, float[30] b1, float[30,5] w2> {
  h = MatMul (x, w1)
  p = Add (h, b1)
  a = Tanh (p)
  y = MatMul (a, w2)
}"""


def data_for(shape: tuple[int, ...], count: int, seed: int, signed: bool) -> Dataset:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((count, *shape)).astype(np.float32)
    x = x if signed else np.abs(x)
    return Dataset("drawn", x, generator.integers(4, size=count).astype(np.int64))


def replica_of(
    text: str,
    target: Target,
    shape: tuple[int, ...],
    *,
    scale: float = 1.0,
    signed: bool = True,
    activation_bits: int | None = None,
    **settings: Any,
) -> tuple[Replica, Task, ir.Model, Dataset]:
    data = data_for(shape, 40, 1, signed)
    task = Task(
        target,
        None,
        data,
        data,
        Settings(epochs=1, **settings),
        CompileOptions(activation_bits=activation_bits),
    )
    model = model_of(text)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(
            value.const_value.numpy() * np.float32(scale), name=value.name
        )
    Canonicalize()(model)
    return Replica(model, task, 10, "y"), task, model, data


def beside_the_simulator(
    replica: Replica, task: Task, model: ir.Model, data: Dataset
) -> tuple[np.ndarray, np.ndarray, MappedNetwork]:
    """Outputs of the ideal chip in training and in the simulator, and the compiled network.

    Ranges of converters are found first.
    """
    replica.calibrate()
    replica.train(False)
    found = replica(torch.tensor(data.x), replica.crossbars.quantized()).detach().numpy()
    network = mapped(finished_network(model, replica, task.options), task)
    session = make_session(serialized(network.model), chip=Chip.ideal(), quiet=True)
    return found, session.run(None, {"x": data.x})[0], network
