"""The papers' tables and figures: one literal table, a file a paper."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nvmc.errors import OptionError, unknown
from nvmc.reproduce.bayesft import BAYESFT
from nvmc.reproduce.experiment import Experiment
from nvmc.reproduce.invnorm import INVNORM
from nvmc.reproduce.trice import TRICE

__all__ = ["EXPERIMENTS", "SOURCES", "experiment_named"]

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {experiment.name: experiment for experiment in (*TRICE, *BAYESFT, *INVNORM)}
)
"""Name -> experiment."""
SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "mnist": "MNIST's four idx files, http://yann.lecun.com/exdb/mnist",
        "cifar10": "CIFAR-10's batches, https://www.cs.toronto.edu/~kriz/cifar.html",
        "gtsrb": "the traffic signs, https://benchmark.ini.rub.de",
        "speech-commands": "speech_commands_v0.02.tar.gz of TensorFlow's data sets, unpacked",
        "drive": "the retinas with manual maps, https://drive.grand-challenge.org",
        "penn-fudan": "PennFudanPed.zip, https://www.cis.upenn.edu/~jshi/ped_html",
    }
)
"""Data set -> what to get, and where."""


def experiment_named(name: str) -> Experiment:
    """An experiment of the table.

    Raises:
        OptionError: There is none of that name.
    """
    if name not in EXPERIMENTS:
        raise OptionError(unknown("experiment", name, EXPERIMENTS))
    return EXPERIMENTS[name]
