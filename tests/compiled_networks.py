"""A compiled network of a folder, ready to run: what `set_up` makes before it has images."""

from __future__ import annotations

from nvmc import Compiled, Target
from nvmc.evaluation.workload import circuit_of, network_of
from nvmc.passes.io.load import load_model
from nvmc.passes.two_classes import two_classes
from nvmc.runtime.montecarlo import CircuitNetwork, Network

__all__ = ["load_circuit", "load_network"]


def load_network(compiled: Compiled, target: Target, *, classes: bool = False) -> Network:
    model, output = load_model(compiled.model_path), compiled.manifest.outputs[0].name
    if classes:
        output, _ = two_classes(model, output)
    return network_of(model, target, output)


def load_circuit(compiled: Compiled, target: Target) -> CircuitNetwork:
    output = compiled.manifest.outputs[0].name
    return circuit_of(load_model(compiled.model_path), target, output)
