"""Which chip a session runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from nvmc.errors import DeviceError, ModelError, OptionError
from nvmc.hardware.chip import Array, Chip
from nvmc.hardware.devices import Target, load_device
from nvmc.runtime.provider import make_session, register_provider
from nvmc.runtime.provider.options import ProviderOptions
from provider_networks import batch, codes_of, fefet, matmul

FEEDS = {"x": batch()}
SCALE = np.float32(0.5).reshape(())


def output(**options: Any) -> Any:
    return make_session(matmul(), **options).run(None, FEEDS)[0]


def expected(target: Target, chip: Chip) -> Any:
    weights = chip.program(Array("w", codes_of((4, 3)), SCALE, target)).weights
    return FEEDS["x"] @ weights


def same(left: Any, right: Any) -> None:
    # Two float32 sums of four products below 2^5 each, in different orders: 8 roundings.
    np.testing.assert_allclose(left, right, rtol=0, atol=8 * 2**-24 * 2**7)


def plain_session(options: dict[str, str], **kwargs: Any) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.add_provider_for_devices(register_provider(), options)
    return onnxruntime.InferenceSession(matmul(), settings, **kwargs)


def test_the_three_line_session_runs_chip_zero():
    session = plain_session({})
    assert session.get_providers()[0] == "NvmcExecutionProvider"
    same(session.run(None, FEEDS)[0], expected(fefet(), Chip.of(fefet(), 0, 0)))


@pytest.mark.parametrize(
    "options", [{"chip": 5}, {"seed": 7}, {"sigma": 0.3}, {"chip": 2, "seed": 3, "sigma": 0.05}]
)
def test_options_name_the_chip(options: dict[str, Any]):
    chip = Chip.of(
        fefet(), options.get("seed", 0), options.get("chip", 0), options.get("sigma", None)
    )
    found = output(**options)
    same(found, expected(fefet(), chip))
    assert np.abs(found - output()).max() > 0.01
    np.testing.assert_array_equal(found, output(**options))


def test_the_ideal_chip_and_no_noise_give_the_networks_own_output():
    ideal = expected(fefet(), Chip.ideal())
    same(output(chip="ideal"), ideal)
    same(output(sigma=0.0), ideal)


def test_a_device_replaces_the_networks(tmp_path: Path):
    weak = Target.of(load_device("fefet1"))
    same(output(device="fefet1"), expected(weak, Chip.of(weak, 0, 0)))
    text = 'name = "own"\ntitle = "t"\nsource = "s"\nlevels = 4\n'
    (tmp_path / "own.toml").write_text(text)
    same(output(device=str(tmp_path / "own.toml")), expected(fefet(), Chip.ideal()))


def test_a_device_replaces_that_of_analog_weights():
    analog, weak = Target.of(load_device("reram-lognormal")), Target.of(load_device("additive"))
    network = matmul(analog)
    found = make_session(network, device="additive", sigma=0.1).run(None, FEEDS)[0]
    same(found, expected(weak, Chip.of(weak, 0, 0, 0.1)))


BAD = [
    ({"sigma": "-1"}, "sigma is -1.0; expected a finite number of at least 0"),
    ({"sigma": "nan"}, "sigma is nan"),
    ({"sigma": "much"}, "sigma is 'much'; expected a number"),
    ({"seed": "1.5"}, "seed is '1.5'; expected a whole number"),
    ({"seed": "-1"}, "seed is -1; expected a whole number of at least 0"),
    ({"chip": "-1"}, "chip is -1; expected a whole number of at least 0"),
    ({"chip": "best"}, "chip is 'best'; expected a whole number of at least 0, or 'ideal'"),
    ({"device": "nand"}, "device 'nand' is unknown"),
    ({"device": "stuck-at", "sigma": "1"}, "has no noise source that takes sigma"),
    ({"cihp": "1"}, "'cihp' is unknown; expected one of device, sigma, seed, chip"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options_fail_the_session_instead_of_dropping_the_noise(
    options: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(Exception, match=message):
        plain_session(options)
    assert "Falling back" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"sigma": -1.0}, OptionError, "^sigma is -1.0"),
        ({"sigma": float("inf")}, OptionError, "^sigma is inf"),
        ({"seed": -1}, OptionError, "^seed is -1"),
        ({"chip": -1}, OptionError, "^chip is -1"),
        ({"device": "nand"}, DeviceError, "^device 'nand' is unknown"),
        ({"device": "ideal", "sigma": 0.1}, ModelError, "session: OptionError: device 'ideal'"),
    ],
)
def test_make_session_raises_our_errors(
    options: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        output(**options)


def test_options_survive_their_strings():
    options = ProviderOptions("./mine.toml", 0.1 + 0.2, 2**60, None)
    assert ProviderOptions.of(options.texts) == options
    assert ProviderOptions.of({}) == ProviderOptions()
    with pytest.raises(OptionError):
        ProviderOptions.of({"Chip": "1"})
