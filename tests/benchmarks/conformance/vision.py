"""Networks of torchvision and timm, with random weights, on images of 64 x 64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from conformance.case import Case, exported

__all__ = ["CASES"]

TORCHVISION: dict[str, tuple[int, bool, dict[str, Any]]] = {
    "alexnet": (11, False, {}),
    "vgg11_bn": (12, False, {}),
    "resnet18": (18, True, {}),
    "resnet50": (13, False, {"num_classes": 1000}),
    "mobilenet_v2": (11, False, {}),
    "mobilenet_v3_small": (14, False, {}),
    "mobilenet_v3_large": (18, True, {"num_classes": 1000}),
    "efficientnet_b0": (17, False, {}),
    "densenet121": (14, False, {}),
    "regnet_x_400mf": (20, True, {}),
    "regnet_y_400mf": (15, False, {}),
    "shufflenet_v2_x0_5": (15, False, {}),
    "squeezenet1_1": (16, False, {}),
    "googlenet": (16, False, {"aux_logits": False, "init_weights": False}),
    "inception_v3": (19, False, {"aux_logits": False, "init_weights": False}),
    "mnasnet0_5": (21, True, {}),
    "convnext_tiny": (17, False, {}),
    "swin_t": (17, False, {}),
    "swin_v2_t": (18, True, {}),
}
"""Name -> opset, whether by dynamo, options; ten classes unless they say otherwise."""

SIDES = {"alexnet": 224, "inception_v3": 96, "vgg11_bn": 224}
"""Pixels of those that 64 are too few for, to be run or to be exported."""

TIMM: dict[str, tuple[int, bool, dict[str, Any]]] = {
    "deit_tiny_patch16_224": (17, False, {"img_size": 64}),
    "vit_tiny_patch16_224": (23, True, {"img_size": 64}),
    "mixer_s32_224": (18, True, {"img_size": 64}),
    "resmlp_12_224": (16, False, {"img_size": 64}),
    "gmlp_ti16_224": (18, True, {"img_size": 64}),
    "mobilevit_xxs": (18, True, {}),
    "mobilevitv2_050": (17, False, {}),
    "ghostnet_050": (13, False, {}),
    "tf_efficientnet_lite0": (11, False, {}),
    "mobilenetv4_conv_small": (18, True, {}),
    "mobileone_s0": (18, True, {}),
    "repvgg_a0": (15, False, {}),
    "levit_128s": (17, False, {"img_size": 64}),
    "poolformer_s12": (18, True, {}),
    "coatnet_nano_rw_224": (17, False, {"img_size": 64}),
    "xcit_nano_12_p16_224": (18, True, {"img_size": 64}),
    "hrnet_w18_small": (18, True, {}),
    "nf_regnet_b0": (17, False, {}),
    "resnetv2_50": (18, True, {}),
    "cait_xxs24_224": (17, False, {"img_size": 64}),
    "edgenext_xx_small": (18, True, {}),
    "efficientvit_b0": (17, False, {}),
    "botnet26t_256": (17, False, {"img_size": 64}),
    "convmixer_768_32": (18, True, {}),
    "res2net50_14w_8s": (16, False, {}),
    "skresnet18": (18, True, {}),
    "dla34": (13, False, {}),
    "vovnet39a": (18, True, {}),
    "fastvit_t8": (17, False, {}),
    "eva02_tiny_patch14_224": (18, True, {"img_size": 56}),
}


class _Maps(nn.Module):
    """The maps of a segmentation network, which come in a dictionary."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["out"]


class _Detector(nn.Module):
    """Pyramid and heads of RetinaNet: scores and boxes of every anchor, before suppression."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.detection.retinanet import RetinaNetHead
        from torchvision.models.resnet import resnet18
        from torchvision.ops import FeaturePyramidNetwork

        self.backbone = resnet18(weights=None)
        self.pyramid = FeaturePyramidNetwork([128, 256, 512], 64)
        self.head = RetinaNetHead(64, 3, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        net = self.backbone
        x = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))
        c3 = net.layer2(x)
        c4 = net.layer3(c3)
        levels = self.pyramid({"3": c3, "4": c4, "5": net.layer4(c4)})
        found = self.head(list(levels.values()))
        return found["cls_logits"], found["bbox_regression"]


class _Ssd(nn.Module):
    """SSDlite's heads on MobileNetV3: as in torchvision, before suppression."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models.detection import ssdlite320_mobilenet_v3_large

        net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=11)
        self.backbone, self.head = net.backbone, net.head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.head(list(self.backbone(x).values()))
        return found["cls_logits"], found["bbox_regression"]


def _of_torchvision(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        net = torchvision.models.get_model(name, weights=None, **{"num_classes": 10, **options})
        if name == "vgg11_bn":  # 400 MB of its 500 are two layers, which say nothing new
            net.classifier = nn.Linear(512 * 7 * 7, 10)
        return net

    return build


def _of_timm(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, exportable=True, num_classes=10, **options)

    return build


def _segmenter(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import segmentation

        make = getattr(segmentation, name)
        return _Maps(make(weights=None, weights_backbone=None, num_classes=5, aux_loss=None))

    return build


def _images(side: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(2, 3, side, side)


def _cases() -> list[Case]:
    found: list[Case] = []
    for name, (opset, dynamo, options) in TORCHVISION.items():
        build, side = _of_torchvision(name, options), SIDES.get(name, 64)
        case = exported(name, "torchvision", build, _images(side), opset=opset, dynamo=dynamo)
        found.append(case)
    for name, opset, dynamo in (
        ("deeplabv3_mobilenet_v3_large", 16, False),
        ("lraspp_mobilenet_v3_large", 18, True),
        ("fcn_resnet50", 13, False),
    ):
        build = _segmenter(name)
        case = exported(name, "torchvision", build, _images(64), opset=opset, dynamo=dynamo)
        found.append(case)
    for name, net, opset, dynamo in (
        ("retinanet heads on FPN", _Detector, 18, True),
        ("retinanet heads on FPN (TorchScript)", _Detector, 12, False),
        ("ssdlite heads", _Ssd, 16, False),
    ):
        found.append(exported(name, "torchvision", net, _images(64), opset=opset, dynamo=dynamo))
    for name, (opset, dynamo, options) in TIMM.items():
        build, side = _of_timm(name, options), options.get("img_size", 64)
        found.append(exported(name, "timm", build, _images(side), opset=opset, dynamo=dynamo))
    return found


CASES = _cases()
