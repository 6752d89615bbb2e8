"""A network, data and cells small enough to train in a second."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nvmc.data import Dataset
from nvmc.hardware.devices import Target, load_device
from nvmc.training.method import Method
from nvmc.training.preparation import canonical_network, prepared_network
from nvmc.training.run import Run
from nvmc.training.settings import Settings
from nvmc.training.task import Task
from onnx_text import proto_of

MLP = """g (float[N,8] x) => (float[N,3] y)
<float[8,12] w1, float[12] b1, float[12,3] w2, float[3] b2> {
  h = Gemm (x, w1, b1)
  a = Tanh (h)
  y = Gemm (a, w2, b2)
}"""


def blobs(count: int, seed: int) -> Dataset:
    """Three classes that overlap a little, images of 8 numbers."""
    generator = np.random.default_rng(seed)
    y = generator.integers(3, size=count)
    centres = np.random.default_rng(0).standard_normal((3, 8))
    x = centres[y] + 0.7 * generator.standard_normal((count, 8))
    return Dataset("blobs", x.astype(np.float32), y.astype(np.int64))


def small_target(device: str = "rram4", **use: Any) -> Target:
    """Four-bit weights in two-bit cells."""
    return Target.of(load_device(device), **{"weight_bits": 4, "cell_bits": 2, **use})


def small_task(target: Target | None = None, sigma: float | None = 0.2, **settings: Any) -> Task:
    """96 images in three steps per epoch, KPPs over 20 chips on 60 images."""
    chosen = {"epochs": 4, "batch": 32, "chips": 20, "percentile": 5.0, "rate": 1e-2, **settings}
    return Task(target or small_target(), sigma, blobs(96, 1), blobs(60, 2), Settings(**chosen))


def small_network(folder: Path) -> Path:
    """The file of a two-layer network with smooth activations and weights of a sane size."""
    proto = proto_of(MLP)
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor) * 0.4
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    path = folder / "mlp.onnx"
    onnx.save(proto, path)
    return path


def small_run(folder: Path, method: Method, task: Task | None = None) -> Run:
    """A run of `method` before its first epoch."""
    task = task or small_task()
    run = Run(
        prepared_network(canonical_network(small_network(folder)), task, method),
        task,
        method.replicas,
    )
    method.begin(run)
    return run
