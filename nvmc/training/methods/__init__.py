"""The training methods, one file each, or one for a family. `METHODS` names them all."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from nvmc.arguments import checked
from nvmc.errors import OptionError, unknown
from nvmc.hardware.options import problem
from nvmc.training.method import Method
from nvmc.training.methods.a_trice import ATrice
from nvmc.training.methods.awp import Awp
from nvmc.training.methods.bayes_noise import BayesNoise
from nvmc.training.methods.bayesft import BayesFT
from nvmc.training.methods.correctnet import CorrectNet
from nvmc.training.methods.cut_gaussians import LcGaussian, LtGaussian, RcGaussian, RtGaussian
from nvmc.training.methods.erm import Erm
from nvmc.training.methods.ftna import Ftna
from nvmc.training.methods.gaussian import NoiseInjection
from nvmc.training.methods.hwa import HardwareAware
from nvmc.training.methods.invnorm import Invnorm
from nvmc.training.methods.neft import Neft
from nvmc.training.methods.reram_v import ReramV
from nvmc.training.methods.spatial_spindrop import SpatialSpindrop
from nvmc.training.methods.spindrop import Spindrop
from nvmc.training.methods.trice import Trice

__all__ = ["METHODS", "make_method"]

METHODS: dict[str, type[Method]] = {
    method.kind: method
    for method in (
        ATrice,
        Awp,
        BayesFT,
        BayesNoise,
        CorrectNet,
        Erm,
        Ftna,
        NoiseInjection,
        HardwareAware,
        Invnorm,
        LcGaussian,
        LtGaussian,
        Neft,
        RcGaussian,
        ReramV,
        RtGaussian,
        SpatialSpindrop,
        Spindrop,
        Trice,
    )
}


@checked
def make_method(kind: str, options: Mapping[str, object] | None = None) -> Method:
    """A method by name, with its options; texts are read as their types.

    Raises:
        OptionError: There is no such method, or it has no such option, or not of that value.
    """
    if kind not in METHODS:
        raise OptionError(unknown("method", kind, METHODS))
    try:
        return METHODS[kind].model_validate(dict(options or {}))
    except ValidationError as error:
        raise OptionError(f"method {kind!r}: {problem(error, METHODS[kind])}") from error
