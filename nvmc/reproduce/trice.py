"""TRICE: Yan et al., Improving Realistic Worst-Case Performance of NVCiM …, ICCAD 2023."""

from __future__ import annotations

from dataclasses import replace

from nvmc.reproduce.experiment import DEVICE, Arm, Experiment, Grid, Quick

__all__ = ["TRICE"]

_SIGMAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def _percent(*values: float) -> tuple[float, ...]:
    return tuple(round(value / 100, 4) for value in values)


_TABLE = (
    Arm(
        "w/o noise",
        "erm",
        once=True,
        paper=_percent(99.01, 93.31, 70.72, 38.15, 19.81, 11.95, 8.58, 6.89, 6.05),
    ),
    Arm(
        "CorrectNet",
        "correctnet",
        paper=_percent(97.99, 97.56, 90.66, 67.70, 39.54, 22.26, 14.26, 10.83, 9.23),
    ),
    Arm(
        "Gauss.",
        "gaussian",
        paper=_percent(98.86, 97.45, 95.59, 87.60, 66.04, 40.27, 23.09, 14.38, 10.38),
    ),
    Arm(
        "RC-Manual",
        "rc-gaussian",
        paper=_percent(98.88, 96.89, 95.47, 90.43, 75.47, 50.14, 28.56, 16.83, 11.61),
    ),
    Arm(
        "TRICE",
        "trice",
        {"warm": 5},
        {"chips": 300},
        paper=_percent(98.94, 98.08, 95.99, 90.58, 77.82, 54.12, 38.51, 25.29, 17.94),
    ),
)
_CURVES = tuple(
    replace(arm, paper=()) for arm in _TABLE if arm.name in ("w/o noise", "Gauss.", "TRICE")
)

_LENET = Experiment(
    name="trice-table1",
    paper="TRICE",
    place="Table I",
    title="1st percentile accuracy of LeNet on MNIST, five ways to train",
    network="lenet5",
    data="mnist:DIR",
    grids=(Grid(DEVICE, _SIGMAS),),
    arms=_TABLE,
    quick=Quick("digits", epochs=15, chips=100),
    device="rram4",
    weight_bits=4,
    activation_bits=4,
    cell_bits=2,
    measure="kpp",
    chips=10_000,
    seeds=5,
    settings={"rate": 6e-3},
    told=(
        "against training with Gaussian noise, TRICE gains up to 15.42 points",
        "the paper's values are means of 5 runs",
    ),
    differs=("learning rate, batch and schedule are ours: the paper states none",),
)

_CIFAR = Experiment(
    name="trice-fig5a",
    paper="TRICE",
    place="Fig. 5a",
    title="1st percentile accuracy of VGG-8 on CIFAR-10",
    network="vgg8",
    data="cifar10:DIR",
    grids=(Grid(DEVICE, _SIGMAS),),
    arms=_CURVES,
    quick=Quick(
        "digits",
        {"widths": (8, 8, 0, 16, 16, 0), "hidden": 32, "size": 28, "channels": 1},
        epochs=8,
        chips=30,
    ),
    device="rram4",
    weight_bits=6,
    activation_bits=6,
    cell_bits=2,
    measure="kpp",
    chips=10_000,
    seeds=5,
    settings={"augment": {"crop": 4, "flip": 0.5}},
    told=(
        "only curves; its text: "
        "against training with Gaussian noise, TRICE gains up to 25.09 points",
        "the sigmas are Table I's: the text states none for the figure",
    ),
    differs=(
        "the paper names VGG-8 alone: the layers are those usual in papers on compute-in-memory",
        "learning rate, batch, schedule and augmentation are ours: the paper states none",
    ),
)

_NOISES = (
    Arm("Gaussian", "gaussian"),
    Arm("RC-Gaussian", "trice", {"warm": 5}, {"chips": 300}),
    Arm("LC-Gaussian", "lc-gaussian"),
    Arm("RT-Gaussian", "rt-gaussian"),
    Arm("LT-Gaussian", "lt-gaussian"),
)

TRICE = (
    _LENET,
    _CIFAR,
    replace(
        _CIFAR,
        name="trice-fig5b",
        place="Fig. 5b",
        title="1st percentile accuracy of ResNet-18 on CIFAR-10",
        network="resnet18",
        quick=Quick(
            "digits", {"width": 4, "channels": 1}, epochs=5, chips=20, settings={"batch": 32}
        ),
        told=(
            "only curves; its text: "
            "against training with Gaussian noise, TRICE gains up to 26.01 points",
            _CIFAR.told[1],
        ),
        differs=(_CIFAR.differs[1],),
    ),
    replace(
        _LENET,
        name="trice-fig6a",
        place="Fig. 6a",
        title="LeNet on MNIST, cells of FeFET 1",
        arms=_CURVES,
        device="fefet1",
        told=(
            "only curves; its text: "
            "against training with Gaussian noise, TRICE gains up to 15.61 points",
            "the sigmas are Table I's: the text states none for the figure",
        ),
    ),
    replace(
        _LENET,
        name="trice-fig6b",
        place="Fig. 6b",
        title="LeNet on MNIST, cells of FeFET 2",
        arms=_CURVES,
        device="fefet2",
        told=(
            "only curves; its text: "
            "against training with Gaussian noise, TRICE gains up to 12.34 points",
            "the sigmas are Table I's: the text states none for the figure",
        ),
    ),
    replace(
        _LENET,
        name="trice-fig8",
        place="Fig. 8",
        title="LeNet on MNIST, other noises in training, at sigma 0.25",
        grids=(Grid(DEVICE, (0.25,)),),
        arms=_NOISES,
        told=(
            "bars; RC-Gaussian is at least 8.76 points above every other noise; truncated noises "
            "are below Gaussian",
        ),
    ),
)
"""Its tables and figures of accuracy."""
