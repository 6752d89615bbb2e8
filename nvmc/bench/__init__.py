"""What chips are tried out on: a network with its images, and a population of chips on it."""

from nvmc.bench.judging import Plan, Watch, judged
from nvmc.bench.making import (
    Options,
    bench_of,
    check_options,
    data_for,
    fidelity_of,
    load_circuit,
    load_network,
    set_up,
)
from nvmc.bench.population import Archive, Bench, Executor, Population, Records, Threads

__all__ = [
    "Archive",
    "Bench",
    "Executor",
    "Options",
    "Plan",
    "Population",
    "Records",
    "Threads",
    "Watch",
    "bench_of",
    "check_options",
    "data_for",
    "fidelity_of",
    "judged",
    "load_circuit",
    "load_network",
    "set_up",
]
