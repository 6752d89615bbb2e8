"""How rows are driven, for formats that know whole codes, and codes bit by bit."""

from __future__ import annotations

from nvmc.errors import OptionError
from nvmc.hardware.devices import Periphery

__all__ = ["check_pulses"]


def check_pulses(array: str, periphery: Periphery) -> None:
    """Complain of inputs that these formats cannot say.

    Args:
        array: Name of the array.
        periphery: Its DACs.

    Raises:
        OptionError: There are such inputs.
    """
    wrong = ""
    if periphery.dac_slice_bits > 1:
        wrong = "inputs in slices of several bits", "--dac-slice-bits 1"
    elif periphery.accumulate != "digital":
        wrong = "charges that are added up before the ADC", "--accumulate digital"
    elif periphery.signed_inputs == "bipolar":
        wrong = "bipolar inputs", "--signed-inputs two-phase or offset"
    elif periphery.dac_inl:
        wrong = "DACs that are not linear", "--dac-inl 0"
    if wrong:
        raise OptionError(
            f"array {array!r} has {wrong[0]}, which this version of the format does not support; "
            f"compile with {wrong[1]}"
        )
