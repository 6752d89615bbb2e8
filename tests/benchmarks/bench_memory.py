"""Peak memory of compile, simulate and program, as multiples of the float network's file.

Usage: python tests/benchmarks/bench_memory.py [MEGABYTES] [--kinds mlp,conv] [--lean] [--docs]
       python tests/benchmarks/bench_memory.py --models FILE... [--lean] [--docs]

Each phase is a process of its own on a network of random weights, or on an ONNX file; memory is
its peak resident set above what a small network has taken in that process before, which loads all
modules. `--lean` lets the allocator give every large block back at once, as nvmc does where memory
is short.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from figures import figures, parser, table
from onnx import helper, numpy_helper

MIB = 1 << 20
PHASES = {
    "compile": "compile",
    "cells 1": "simulate, one job",
    "cells 2": "simulate, two jobs",
    "circuit 1": "circuit, one job",
    "program": "program",
}
KINDS = {"mlp": "dense", "conv": "convolutions"}
LARGEST = 2000
"""Megabytes from which on weights are external data."""
CHIPS = 4
IMAGES = 1


def network(kind: str, megabytes: float, path: Path) -> None:
    """Write equal layers of random weights.

    In a process of its own: what a parent has taken counts as its children's peak.
    """
    random = np.random.default_rng(0)
    width = 1024 if kind == "mlp" else 256
    shape = (width, width) if kind == "mlp" else (width, width, 3, 3)
    count = max(1, round(megabytes * MIB / 4 / np.prod(shape)))
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    for layer in range(count):
        values = random.standard_normal(shape, np.float32) / np.float32(np.prod(shape[1:]) ** 0.5)
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        names = [f"x{layer}", f"w{layer}"]
        options = {"transB": 1} if kind == "mlp" else {"pads": [1] * 4}
        op = "Gemm" if kind == "mlp" else "Conv"
        node = helper.make_node(op, names, [f"h{layer}"], f"layer{layer}")
        node.attribute.extend([helper.make_attribute(k, v) for k, v in options.items()])
        nodes.append(node)
        nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"x{layer + 1}"], f"relu{layer}"))
    nodes.append(helper.make_node("Flatten", [f"x{count}"], ["y"], "flatten"))
    sizes = [None, width] if kind == "mlp" else [None, width, 8, 8]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, None])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    apart = megabytes >= LARGEST
    onnx.save(model, path, save_as_external_data=apart, location=f"{path.name}.data")


def run(phase: str, model: Path, folder: Path) -> None:
    """One phase in this process; `folder` holds, or gets, the compiled network."""
    import nvmc

    if phase == "compile":
        nvmc.compile_model(model, nvmc.Target.of(nvmc.load_device("fefet2")), output=folder)
    elif phase == "program":
        nvmc.program_chip(nvmc.open_compiled(folder), 0, folder.with_suffix(".chip.onnx"))
    else:
        fidelity, jobs = phase.split()
        nvmc.simulate(
            nvmc.open_compiled(folder),
            runs=CHIPS,
            percentile=50,
            jobs=int(jobs),
            limit=IMAGES,
            fidelity=fidelity,  # type: ignore[arg-type]
        )


def peak() -> float:
    """The process's largest resident set so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(phase: str, model: Path, small: str, folder: Path, strict: bool) -> None:
    """Print base, peak and seconds of a phase, having run it on a small network first."""
    from nvmc.runtime.memory import lean

    lean(strict)
    run("compile", folder / small, folder / "small.nvmc")
    run(phase, folder / small, folder / "small.nvmc")
    base, started = peak(), time.perf_counter()
    run(phase, model, folder / "network.nvmc")
    print(base, peak(), time.perf_counter() - started)


def multiples(kind: str, megabytes: float, model: Path | None, lean: bool) -> dict[str, float]:
    """Peak of each phase over the file's size; the size in MiB is under "file"."""
    found = dict[str, float]()
    with tempfile.TemporaryDirectory() as name:
        for phase in ("make", *PHASES):
            command = [sys.executable, __file__, str(megabytes), "--kinds", kind, "--phase", phase]
            command += ["--folder", name, *(["--lean"] if lean else [])]
            command += ["--models", str(model)] if model else []
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            if phase == "make":
                files = [model] if model else Path(name).glob(f"{kind}.*")
                found["file"] = sum(path.stat().st_size for path in files) / MIB
                print(f"{model or kind} of {found['file']:.0f} MiB")
                continue
            base, most, seconds = map(float, done.stdout.split()[-3:])
            found[phase] = (most - base) / found["file"]
            print(
                f"{phase:10} {found[phase]:5.2f} x the file "
                f"(base {base:.0f} MiB, peak {most:.0f} MiB), {seconds:.1f} s",
                flush=True,
            )
    return found


def child(kind: str, given: argparse.Namespace) -> None:
    """Make the networks, or run one phase, in this process."""
    if given.phase == "make":
        network(kind, 1, given.folder / f"small-{kind}.onnx")
        network(kind, given.megabytes, given.folder / f"{kind}.onnx")
        return
    model = given.models[0] if given.models else given.folder / f"{kind}.onnx"
    measure(given.phase, model, f"small-{kind}.onnx", given.folder, given.lean)


def main() -> None:
    """Measure all phases, or in a child process one."""
    options = parser(__doc__)
    options.add_argument("megabytes", nargs="?", type=float, default=64.0)
    options.add_argument("--kinds", default=",".join(KINDS))
    options.add_argument("--lean", action="store_true")
    options.add_argument("--models", type=Path, nargs="+", help="networks of one file each")
    options.add_argument("--phase", choices=["make", *PHASES], help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    kinds = given.kinds.split(",")
    if given.phase:
        child(kinds[0], given)
    elif given.models:
        rows: list[list[str]] = []
        for model in given.models:
            of = multiples("conv", 1, model, given.lean)
            cells = [f"{of[phase]:.1f}" for phase in PHASES]
            rows.append([model.stem, f"{of['file']:.0f} MiB", *cells])
        figures(__file__, "models", table(["", "file", *PHASES.values()], rows))
    else:
        all_of = [multiples(kind, given.megabytes, None, given.lean) for kind in kinds]
        rows = [[title, *(f"{of[p]:.1f}" for of in all_of)] for p, title in PHASES.items()]
        figures(__file__, "layers", table(["", *(KINDS[kind] for kind in kinds)], rows))


if __name__ == "__main__":
    main()
