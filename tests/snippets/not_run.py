"""The blocks of the pages that no test runs, each with its reason."""

from __future__ import annotations

from snippets.pages import Block

__all__ = ["NOT_RUN", "runs"]

_MAKE = "sets up an environment of its own; .ci/run does"
_CLUSTER = "needs several machines"
_SLURM = "needs a SLURM cluster"
_MNIST = "needs MNIST's files, which are not nvmc's to ship"
_DATA = "needs data and networks of the reader's own"
_STUDY = "runs for hours; the page holds its results"
_TRAINS = "trains or searches for minutes; its options are checked"
_TOOL = "needs another tool, which the development environment lacks"

NOT_RUN = {
    ("README.md", "pip install .            # from a checkout;"): _MAKE,
    ("docs/cluster.md", "nvmc simulate net.nvmc --data SPEC --runs"): _CLUSTER,
    ("docs/cluster.md", "dask scheduler --scheduler-file"): _CLUSTER,
    ("docs/cluster.md", "#!/bin/bash"): _SLURM,
    ("docs/cluster.md", "from dask_jobqueue import SLURMCluster"): _SLURM,
    ("docs/cluster.md", "nvmc results merge net.nvmc part-*.sqlite"): _SLURM,
    ("docs/conformance.md", "python tests/benchmarks/study_conformance.py"): _STUDY,
    ("docs/data.md", "nvmc simulate birds.nvmc --data"): _DATA,
    ("docs/crosssim.md", "git clone --branch v3.2.0"): _STUDY,
    ("docs/explore.md", "nvmc compile zoo:lenet5-digits --from"): _TRAINS,
    ("docs/explore.md", "import nvmc"): _TRAINS,
    ("docs/export.md", "import nvmc, numpy, onnx, tvm"): _TOOL,
    ("docs/export.md", "import subprocess"): _TOOL,
    ("docs/export.md", "import collections, pathlib"): _TOOL,
    ("docs/language.md", "nvmc compile gpt2.onnx --device rram4"): _DATA,
    ("docs/language.md", "nvmc compile minilm.onnx --device rram4"): _DATA,
    ("docs/metrics.md", "nvmc simulate unet.nvmc --data vessels.npz"): _DATA,
    ("docs/metrics.md", "nvmc simulate detector.nvmc --data scenes.npz"): _DATA,
    ("docs/methods/ablation.md", "python tests/benchmarks/study_bayesft.py"): _STUDY,
    ("docs/methods/bayes-noise.md", "nvmc train MODEL --method bayes-noise"): _TRAINS,
    ("docs/methods/bayesft.md", "nvmc train zoo:mlp3-digits --method bayesft"): _TRAINS,
    ("docs/methods/bayesft.md", "python tests/benchmarks/study_bayesft.py"): _STUDY,
    ("docs/methods/hwa.md", "nvmc train model.onnx --data mnist:DIR"): _MNIST,
    ("docs/methods/reram-v.md", "nvmc train net.onnx --method reram-v"): _TRAINS,
    ("docs/results.md", "nvmc simulate net.nvmc --first $((1000 *"): _SLURM,
    ("docs/security.md", "make fuzz COUNT=10000                        "): _STUDY,
    ("docs/solve.md", "$ nvmc solve lenet5.nvmc"): _TRAINS,
    ("docs/solve.md", "import nvmc"): _TRAINS,
    ("docs/install.md", "pip install nvmc"): _MAKE,
    ("docs/install.md", "pip install --force-reinstall"): _MAKE,
    ("docs/install.md", "docker build"): _TOOL,
    ("docs/install.md", 'eval "$(_NVMC'): _MAKE,
    ("docs/release.md", "python -m build"): _MAKE,
    ("docs/tutorials/slurm.md", "#!/bin/bash"): _SLURM,
    ("docs/tutorials/slurm.md", "nvmc results merge net.nvmc part-*"): _SLURM,
    ("docs/targets.md", "nvmc train zoo:lenet5-digits --target"): _TRAINS,
    ("docs/train.md", "$ nvmc train model.onnx --data mnist:DIR"): _MNIST,
    ("docs/train.md", "$ nvmc train zoo:lenet5-digits --method"): _TRAINS,
    ("docs/uncertainty.md", "nvmc train zoo:lenet5-digits --method invnorm"): _TRAINS,
    ("docs/workloads/audio.md", "nvmc models export m5 -o m5.onnx"): _DATA,
    ("docs/workloads/classification.md", "nvmc models export irnet-resnet18"): _DATA,
    ("docs/workloads/co2.md", "nvmc train forecast.onnx --data co2 --device"): _TRAINS,
    ("docs/workloads/detection.md", "nvmc models export detector -o"): _DATA,
    ("docs/workloads/segmentation.md", "nvmc models export unet --shape"): _DATA,
    ("docs/workloads/spatial-transformer.md", "nvmc models export stn-gtsrb"): _DATA,
    ("docs/zoo.md", "pip install 'nvmc[train]'"): _MAKE,
}
"""(page, how the block begins) -> why."""


def runs(block: Block) -> bool:
    """Whether a test runs the block."""
    return not any(block.page == page and block.text.startswith(start) for page, start in NOT_RUN)
