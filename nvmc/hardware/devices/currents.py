"""The current of a cell at a voltage, I(V): what makes it more than conductance times voltage.

A law is a sum of *responses*: polynomials in what drives a row, each of which counts for a
conductance of its own,

    I = sum over k of w_k(g) V f_k(V)        f_0 = 1 at V = 0,  w_0(g) = g

so that a column of cells is still a matrix product, with a row for each response. `g` is the slope
of I at 0 V, except where a law says otherwise (`stated_at`). Voltages are never negative: inputs of
the other sign are another phase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nvmc.hardware.devices.laws import Strict
from nvmc.hardware.devices.numbers import Above, Finite

__all__ = ["Cubic", "CurrentLaw", "Fitted", "Response", "Sinh", "polynomial"]

Real = NDArray[np.floating[Any]]
Polynomial = Annotated[tuple[Finite, ...], Field(min_length=1, max_length=12)]
Response = tuple[float, ...]
"""c_1, c_2, ... of c_1 x + c_2 x^2 + ..., x what drives the row, in input codes."""
_MOST = 10.0
"""Read voltage over v0 up to which sinh is summed to the rounding of float64."""


class _Law(Strict, frozen=True):
    """What laws share.

    Attributes:
        limit_v: Highest voltage that the source vouches for; a higher read voltage is an error.
    """

    limit_v: Above | None = None

    def problem(self, read_v: float) -> str:
        """What is wrong with reading at that voltage; empty where nothing is."""
        if self.limit_v is not None and read_v > self.limit_v:
            return f"the device's source vouches for at most {self.limit_v:g} V"
        return ""

    def responses(self, read_v: float, top: float) -> tuple[Response, ...]:
        """What a drive of x makes of each response, in the units of x.

        Args:
            read_v: The voltage of the highest drive.
            top: The highest drive, in input codes.
        """
        raise NotImplementedError

    def weights(self, g_us: Real, read_v: float, top: float) -> list[Real]:
        """What each response counts for, of cells that conduct `g_us`; µS, of its shape."""
        del read_v, top
        return [g_us]

    def current(self, g_us: Real, volts: Real, read_v: float) -> Real:
        """The current in µA of cells at voltages of 0 to `read_v`, which broadcast."""
        responses = self.responses(read_v, read_v)
        weights = self.weights(np.asarray(g_us, np.float64), read_v, read_v)
        parts = [w * polynomial(r, volts) for w, r in zip(weights, responses, strict=True)]
        return np.asarray(sum(parts))

    def both_signs(self, g_us: Real, read_v: float) -> Callable[[Real], tuple[Real, Real]]:
        """From voltages of -read_v to read_v to currents in µA and their slopes in µS.

        A law is about voltages from 0 on. Below, which cells are only where a bit line lifts a row
        that is not driven, it is taken for odd: I(-V) = -I(V).

        Args:
            g_us: Of the cells, which broadcasts against voltages.
            read_v: The voltage of the highest drive.
        """
        responses = self.responses(read_v, read_v)
        weights = self.weights(np.asarray(g_us, np.float64), read_v, read_v)

        def at(volts: Real) -> tuple[Real, Real]:
            size, current, slope = np.abs(volts), np.zeros(()), np.zeros(())
            for weight, response in zip(weights, responses, strict=True):
                value, rise = _with_slope(response, size)
                current, slope = current + weight * value, slope + weight * rise
            return np.copysign(1.0, volts) * current, slope

        return at


class _Proportional(_Law, frozen=True):
    """I = g V f(V), f the same for every g.

    Attributes:
        stated_at: Where g is I/V: `zero` voltage, or at the `read` voltage, as cells are where
            they are verified by reads. Then the highest drive is read without error.
    """

    stated_at: Literal["zero", "read"] = "zero"

    def _series(self, read_v: float) -> list[float]:
        """1, c_1, ... of f(V) = 1 + c_1 V + c_2 V^2 + ... up to the read voltage."""
        raise NotImplementedError

    def responses(self, read_v: float, top: float) -> tuple[Response, ...]:
        """The one response; see `_Law`."""
        step = read_v / top
        terms = [c * step**k for k, c in enumerate(self._series(read_v))]
        if self.stated_at == "read":
            full = math.fsum(c * top**k for k, c in enumerate(terms))
            terms = [c / full for c in terms]
        return (tuple(terms),)


class Cubic(_Proportional, frozen=True):
    """I = g V (1 + quadratic V + cubic V^2).

    Attributes:
        law: Which law it is.
        quadratic: In 1/V.
        cubic: In 1/V^2; CrossSim 3.2's CubicDevice has -0.25.
    """

    law: Literal["cubic"]
    quadratic: Finite = 0.0
    cubic: Finite = 0.0

    def problem(self, read_v: float) -> str:
        """See `_Law`; also where the current of a cell would turn round below the read voltage."""
        a, b = self.quadratic, self.cubic
        at = [0.0, read_v, -a / (3 * b) if b else 0.0]  # where the slope may be flattest
        if min(1 + 2 * a * v + 3 * b * v**2 for v in at if 0 <= v <= read_v) < 0:
            return "the law's current falls with the voltage there"
        return super().problem(read_v)

    def _series(self, read_v: float) -> list[float]:
        del read_v
        return [1.0, self.quadratic, self.cubic]


class Sinh(_Proportional, frozen=True):
    """I = g v0 sinh(V / v0): tunnelling through a gap (Guan et al., IEEE EDL 33(10), 2012).

    Attributes:
        law: Which law it is.
        v0: In V.
    """

    law: Literal["sinh"]
    v0: Above

    def problem(self, read_v: float) -> str:
        """See `_Law`; also where the series would not reach."""
        if read_v > _MOST * self.v0:
            return f"the law is computed up to {_MOST:g} v0, {_MOST * self.v0:g} V"
        return super().problem(read_v)

    def _series(self, read_v: float) -> list[float]:
        terms = [0.0] * 81
        for k in range(41):  # (read_v/v0)^2k / (2k + 1)! is below 2^-60 of the sum from here on
            terms[2 * k] = 1 / (self.v0 ** (2 * k) * math.factorial(2 * k + 1))
            if (read_v / self.v0) ** (2 * k) / math.factorial(2 * k + 1) < 2.0**-60:
                return terms[: 2 * k + 1]
        return terms


class Fitted(_Law, frozen=True):
    """I = g V + q(g) V^2 + c(g) V^3, q and c polynomials in log10(g / S).

    Beyond the range of the fit a cell has the shape of the curve at its end: q/g and c/g stay what
    they are there, so a cell that does not conduct has no current.

    Attributes:
        law: Which law it is.
        quadratic: a_0, a_1, ... of q = sum a_i log10(g / S)^i, in A/V^2.
        cubic: Likewise of c, in A/V^3.
        range_us: Conductances between which both hold, in µS.
    """

    law: Literal["fitted"]
    quadratic: Polynomial
    cubic: Polynomial
    range_us: tuple[Above, Above]

    @model_validator(mode="after")
    def _ordered(self) -> Fitted:
        low, high = self.range_us
        if low >= high:
            raise ValueError(f"range_us is {low} to {high}; expected [lowest, highest]")
        return self

    def problem(self, read_v: float) -> str:
        """See `_Law`; also where the current of a cell would turn round below the read voltage."""
        volts = np.linspace(0, read_v, 65)
        g, second, third = self.weights(np.linspace(*self.range_us, 65)[:, None], 1.0, 1.0)
        if np.any(g + 2 * second * volts + 3 * third * volts**2 < 0):
            return "the law's current falls with the voltage there"
        return super().problem(read_v)

    def responses(self, read_v: float, top: float) -> tuple[Response, ...]:
        """x, x^2 and x^3; see `_Law`."""
        del read_v, top
        return ((1.0,), (0.0, 1.0), (0.0, 0.0, 1.0))

    def weights(self, g_us: Real, read_v: float, top: float) -> list[Real]:
        """g, and what x^2 and x^3 count for beside it; see `_Law`."""
        inside = np.clip(np.asarray(g_us, np.float64), *self.range_us)
        log, step = np.log10(inside) - 6, read_v / top
        found = [g_us]
        for power, coefficients in ((1, self.quadratic), (2, self.cubic)):
            amperes = np.polynomial.polynomial.polyval(log, coefficients)
            found.append(1e6 * step**power * amperes * (g_us / inside))
        return found


CurrentLaw = Annotated[Cubic | Sinh | Fitted, Field(discriminator="law")]
"""Any of them, as a device file says it in `[iv]`."""


def _with_slope(response: Response, x: Real) -> tuple[Real, Real]:
    """The response to drives x of at least 0, and its slope, by Horner's rule.

    One that has only odd powers, as sinh has, is a polynomial in x^2 times x.
    """
    odd = not any(response[1::2])
    terms, base = (response[::2], x * x) if odd else (response, x)
    value, rise = np.full(x.shape, terms[-1]), np.zeros(x.shape)
    for coefficient in terms[-2::-1]:
        rise *= base
        rise += value
        value *= base
        value += coefficient
    rise *= 2 * base if odd else base
    return value * x, value + rise


def polynomial(response: Response, x: Real) -> Real:
    """The response to drives x: x (c_1 + x (c_2 + ...)) in float64, rounded to x's precision."""
    wide = np.asarray(x, np.float64)
    value = np.full(wide.shape, response[-1])
    for coefficient in response[-2::-1]:
        value *= wide
        value += coefficient
    value *= wide
    return value.astype(x.dtype)
