"""Inputs that formats of codes cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from nvmc.errors import OptionError
from nvmc.export.pulses import check_pulses
from nvmc.hardware.devices import Periphery

SERIAL = {"dac_bits": 6, "dac_mode": "bit-serial"}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({**SERIAL, "dac_slice_bits": 2}, "inputs in slices of several bits"),
        ({**SERIAL, "accumulate": "analog"}, "charges that are added up before the ADC"),
        ({"dac_bits": 6, "signed_inputs": "bipolar"}, "bipolar inputs"),
        ({"dac_bits": 6, "dac_inl": 0.5}, "DACs that are not linear"),
    ],
)
def test_they_are_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"array 'w' has {message}, which .* compile with --"):
        check_pulses("w", Periphery.model_validate(stated))


@pytest.mark.parametrize("stated", [SERIAL, {"dac_bits": 6, "signed_inputs": "offset"}])
def test_others_are_not(stated: dict[str, Any]) -> None:
    check_pulses("w", Periphery.model_validate(stated))
