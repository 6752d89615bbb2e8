"""The papers' networks: binary layers against their papers' formulas, exports against torch."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nvmc import Target, compile_model, load_device, simulate
from nvmc.models.binary import Pact, Sign, binary_weight, set_progress
from nvmc.models.detector import Detector, detection_loss, nms_translations
from nvmc.models.export import export_module
from nvmc.models.scenes import draw_scenes


def test_binary_weights_are_ir_nets() -> None:
    """Channel by channel from Qin et al.'s Eq. 4 to 7, in NumPy."""
    latent = torch.randn((3, 2, 3, 3), generator=torch.Generator().manual_seed(1))
    found = binary_weight(latent, Sign().eval()).numpy()
    for channel, each in zip(latent.numpy(), found, strict=True):
        standard = (channel - channel.mean()) / channel.std()
        scale = 2.0 ** np.round(np.log2(np.abs(standard).mean()))
        np.testing.assert_array_equal(each, np.sign(channel - channel.mean()) * scale)


def test_gradients_of_steps_are_the_papers() -> None:
    """EDE's derivative of k tanh(t x), Eq. 9 and 10; PACT's 1 within and at the bound."""
    x = torch.tensor([-0.7, 0.2, 1.5], requires_grad=True)
    sign = Sign().train()
    set_progress(torch.nn.Sequential(sign), 0.75)
    y = sign(x)
    np.testing.assert_array_equal(y.detach(), [-1, 1, 1])
    (slope,) = torch.autograd.grad(y.sum(), x)
    t = 0.1 * 100**0.75  # 3.16: above 1, so k is 1
    np.testing.assert_allclose(
        slope, t / np.cosh(t * x.detach().numpy()) ** 2, rtol=1e-5, atol=1e-6
    )
    act = Pact(4, bound=1.0).train()
    v = torch.tensor([-1.0, 0.31, 2.0], requires_grad=True)
    out = act(v)
    np.testing.assert_allclose(out.detach(), [0, 5 / 15, 1], rtol=1e-6)
    np.testing.assert_allclose(act.eval()(v).detach(), out.detach(), rtol=1e-6)
    slopes = torch.autograd.grad(out.sum(), [v, act.bound])
    np.testing.assert_array_equal(slopes[0], [0, 1, 0])
    assert slopes[1] == 1


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path]:
    path = tmp_path_factory.mktemp("detector") / "detector.onnx"
    torch.manual_seed(0)
    network = Detector().eval()
    with torch.no_grad():  # scores above the least, so that there is something to suppress
        network.maps.head.bias[:2] = 0.0
    example = torch.zeros((1, 3, 48, 48))
    names = ["boxes", "scores", "labels"]
    export_module(
        network, [example], path, ["image"], names, free=False, translations=nms_translations()
    )
    return network, path


def test_the_detectors_suppression_is_onnxs(detector: tuple[Detector, Path]) -> None:
    network, path = detector
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for image in draw_scenes(2, 3)[0]:
        found = session.run(None, {"image": image[None]})
        with torch.no_grad():
            wanted = network(torch.tensor(image[None]))
        assert 0 < len(wanted[0]) < 2 * 144
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(np.asarray(one), other.numpy(), rtol=1e-4, atol=1e-4)


def test_the_detector_is_judged_by_its_boxes(detector: tuple[Detector, Path]) -> None:
    compiled = compile_model(detector[1], Target.of(load_device("fefet2")))
    found = simulate(compiled, runs=1, data=draw_scenes(3, 0), metric="map", jobs=1)
    assert 0 <= found.values[0] <= 1


def test_the_detectors_loss_is_least_at_the_truth() -> None:
    """Maps that say just where the boxes are have no error of distances and almost no loss."""
    boxes = np.full((1, 4, 6), -1, np.float32)
    boxes[0, 0] = [8, 12, 20, 24, 1, 0]  # centre (14, 18): cell (3, 4), whose centre is the same
    maps = torch.full((1, 6, 12, 12), -20.0)
    maps[0, 1, 4, 3] = 20.0
    maps[0, 2:, 4, 3] = float(np.log(6 / 4))
    assert detection_loss(maps, torch.tensor(boxes), 2) < 1e-6
    maps[0, 2, 4, 3] += 0.5  # smooth L1 of 0.5
    assert detection_loss(maps, torch.tensor(boxes), 2).item() == pytest.approx(0.125, rel=1e-5)
