"""What chips are tried out on: a network with its images, and a population of chips on it."""

from nvmc.bench.making import (
    bench_of,
    check_options,
    fidelity_of,
    load_circuit,
    load_network,
    set_up,
)
from nvmc.bench.population import Bench, Executor, Population, Records, Threads

__all__ = [
    "Bench",
    "Executor",
    "Population",
    "Records",
    "Threads",
    "bench_of",
    "check_options",
    "fidelity_of",
    "load_circuit",
    "load_network",
    "set_up",
]
