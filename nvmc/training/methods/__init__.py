"""The training methods, one file each, or one for a family. `METHODS` names them all."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from nvmc.errors import OptionError
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


def make_method(kind: str, options: Mapping[str, object] | None = None) -> Method:
    """A method by name, with its options; texts are read as their types.

    Raises:
        OptionError: There is no such method, or it has no such option, or not of that value.
    """
    if kind not in METHODS:
        raise OptionError(f"method {kind!r} is unknown; expected one of {', '.join(METHODS)}")
    try:
        return METHODS[kind].model_validate(dict(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "options"
        known = ", ".join(METHODS[kind].model_fields) or "none"
        if first["type"] == "extra_forbidden":
            what = f"has no option {key!r}; expected {known}"
        else:
            problem = str(first["msg"]).removeprefix("Value error, ")
            what = f"{key} is {first['input']!r}: {problem[:1].lower()}{problem[1:]}"
        raise OptionError(f"method {kind!r}: {what}") from error
