"""The networks of three papers: one literal table. Importing it loads no torch.

TRICE: Yan et al., ICCAD 2023 (arXiv 2307.15853). BayesFT: Ye et al., DAC 2021. Inverted
normalization: Ahmed et al., DATE 2024. `docs/zoo.md` says what the papers leave open.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nvmc.errors import ModelError, OptionError, unknown

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Network", "network_named"]

_TRICE, _BAYESFT, _INVNORM = "TRICE", "BayesFT", "inverted normalization"


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: What it is called.
        title: What it is, in a line.
        build: `module:class` of its torch definition.
        shape: Of one input, without the axis of images.
        data: What the paper trained it on, as `--data` names it.
        parameters: Numbers that are trained.
        multiply_adds: Of the weights, for one input.
        papers: (paper, where in it) of each use.
        options: What the class is called with.
        outputs: The outputs' names.
        computed: Whether weights or bounds are computed in its graph, which must stay in the file.
        single: Whether it takes one image at a time.
        pretrained: Names in `ZOO` of files with trained weights, the preferred one first.
    """

    name: str
    title: str
    build: str
    shape: tuple[int, ...]
    data: str
    parameters: int
    multiply_adds: int
    papers: tuple[tuple[str, str], ...]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outputs: tuple[str, ...] = ("logits",)
    computed: bool = False
    single: bool = False
    pretrained: tuple[str, ...] = ()

    def module(self) -> nn.Module:
        """The network with torch's own random weights.

        Raises:
            OptionError: torch is not installed.
        """
        module, _, name = self.build.partition(":")
        try:
            return getattr(importlib.import_module(module), name)(**self.options)
        except ImportError as error:
            raise OptionError(
                f"model {self.name} needs {error.name}, which is not installed; pip install "
                "'nvmc[train]'"
            ) from error


def network_named(name: str) -> Network:
    """A network of the table.

    Raises:
        ModelError: There is none of that name.
    """
    if name not in NETWORKS:
        raise ModelError(unknown("model", name, NETWORKS))
    return NETWORKS[name]


_CIFAR = (3, 32, 32)
_VGG = "nvmc.models.vgg"
_PREACT = "nvmc.models.resnet:PreActResNet"
_FIG3C_E = ((_BAYESFT, "Fig. 3c-e"),)

_ROWS = (
    Network(
        "mlp3",
        "784-256-128-10, ReLU",
        "nvmc.models.mlp3:Mlp3",
        (1, 28, 28),
        "mnist:DIR",
        235_146,
        234_752,
        ((_BAYESFT, "Fig. 2, 3a"),),
        pretrained=("mlp3-mnist", "mlp3-digits"),
    ),
    Network(
        "lenet5",
        "LeNet-5, ReLU, max pooling",
        "nvmc.models.lenet5:LeNet5",
        (1, 28, 28),
        "mnist:DIR",
        61_706,
        416_520,
        ((_TRICE, "Table I, Fig. 6, 8"), (_BAYESFT, "Fig. 3b")),
        pretrained=("lenet5-mnist", "lenet5-digits"),
    ),
    Network(
        "alexnet",
        "AlexNet for 32x32 images",
        "nvmc.models.alexnet:AlexNet",
        _CIFAR,
        "cifar10:DIR",
        2_472_266,
        14_957_056,
        _FIG3C_E,
    ),
    Network(
        "vgg8",
        "VGG-8, batch normalisation",
        f"{_VGG}:Vgg",
        _CIFAR,
        "cifar10:DIR",
        12_978_058,
        615_917_568,
        ((_TRICE, "Fig. 5a"),),
        {"widths": (128, 128, 0, 256, 256, 0, 512, 512, 0), "hidden": 1024},
    ),
    Network(
        "vgg11",
        "VGG-11, batch normalisation",
        f"{_VGG}:Vgg",
        _CIFAR,
        "cifar10:DIR",
        9_228_362,
        152_769_536,
        _FIG3C_E,
        {"widths": (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)},
    ),
    Network(
        "vgg16",
        "VGG-16, batch normalisation",
        f"{_VGG}:Vgg",
        _CIFAR,
        "cifar10:DIR",
        14_724_042,
        313_201_664,
        _FIG3C_E,
        {
            "widths": (
                *(64, 64, 0, 128, 128, 0, 256, 256, 256, 0),
                *(512, 512, 512, 0, 512, 512, 512, 0),
            )
        },
    ),
    Network(
        "resnet18",
        "ResNet-18 for 32x32 images",
        "nvmc.models.resnet:ResNet18",
        _CIFAR,
        "cifar10:DIR",
        11_173_962,
        555_422_720,
        ((_TRICE, "Fig. 5b"), *_FIG3C_E),
    ),
    Network(
        "preact18",
        "PreAct-ResNet-18",
        _PREACT,
        _CIFAR,
        "cifar10:DIR",
        11_172_170,
        555_422_720,
        ((_BAYESFT, "Fig. 3f"),),
        {"blocks": (2, 2, 2, 2)},
    ),
    Network(
        "preact50",
        "PreAct-ResNet-50",
        _PREACT,
        _CIFAR,
        "cifar10:DIR",
        23_513_162,
        1_297_829_888,
        ((_BAYESFT, "Fig. 3g"),),
        {"blocks": (3, 4, 6, 3), "deep": True},
    ),
    Network(
        "preact152",
        "PreAct-ResNet-152",
        _PREACT,
        _CIFAR,
        "cifar10:DIR",
        58_148_938,
        3_722_137_600,
        ((_BAYESFT, "Fig. 3h"),),
        {"blocks": (3, 8, 36, 3), "deep": True},
    ),
    Network(
        "stn-mnist",
        "spatial transformer, for turned digits",
        "nvmc.models.stn:SpatialTransformer",
        (1, 28, 28),
        "mnist:DIR",
        27_360,
        771_300,
        ((_BAYESFT, "Fig. 3i, in small"),),
        pretrained=("stn-mnist",),
    ),
    Network(
        "stn-gtsrb",
        "spatial transformer, for traffic signs",
        "nvmc.models.stn:SpatialTransformer",
        (3, 32, 32),
        "gtsrb:DIR,size=32",
        272_715,
        8_174_192,
        ((_BAYESFT, "Fig. 3i"),),
        {"classes": 43, "channels": 3, "size": 32, "widths": (32, 64, 128)},
    ),
    Network(
        "irnet-resnet18",
        "ResNet-18, binary by IR-Net",
        "nvmc.models.irnet:IrNetResNet",
        _CIFAR,
        "cifar10:DIR",
        11_174_986,
        555_422_720,
        ((_INVNORM, "Table I, Fig. 5a, 7"),),
        computed=True,
    ),
    Network(
        "m5",
        "M5, 1-D convolutions on sound at 8 kHz",
        "nvmc.models.m5:M5",
        (1, 8000),
        "speech-commands:DIR",
        26_915,
        1_880_256,
        ((_INVNORM, "Table I, Fig. 6a"),),
    ),
    Network(
        "forecast",
        "two LSTM layers of 16 units and a dense one",
        "nvmc.models.forecast:Forecast",
        (24, 1),
        "co2",
        3_409,
        75_280,
        ((_INVNORM, "Table I, Fig. 6b"),),
        outputs=("value",),
        pretrained=("forecast-co2",),
    ),
    Network(
        "unet",
        "U-Net, 1-bit weights, 4-bit activations",
        "nvmc.models.unet:UNet",
        (3, 592, 576),
        "drive:DIR,pad=16",
        34_520_280,
        340_031_766_528,
        ((_INVNORM, "Table I, Fig. 5b"),),
        computed=True,
    ),
    Network(
        "detector",
        "one-stage detector, suppression inside",
        "nvmc.models.detector:Detector",
        (3, 48, 48),
        "penn-fudan:DIR",
        23_894,
        3_594_240,
        ((_BAYESFT, "Fig. 3j, in small"),),
        outputs=("boxes", "scores", "labels"),
        single=True,
        pretrained=("detector-scenes",),
    ),
)

NETWORKS: Mapping[str, Network] = MappingProxyType({row.name: row for row in _ROWS})
"""Name -> network."""
