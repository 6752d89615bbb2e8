"""A chip programmed cell by cell in plain loops: what `nvmc.hardware.chip` is compared with.

Written from docs/physics.md alone: it shares no code with nvmc, only the recipe of the streams.
Numbers are float32 scalars, rounded where the physics page says so, so results are equal bit for
bit (but for exp, whose last bit libraries do not agree on).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

f32 = np.float32


def stream(seed: int, chip: int, *names: str) -> np.random.Generator:
    """The documented recipe: Philox over SeedSequence(seed, (chip, 4 words of each name))."""
    key = [chip]
    for name in names:
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        key += [int(word) for word in np.frombuffer(digest, "<u4")]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True)
class Spec:
    """H, B, encoding, the device's highest level and clipping, its conductances and the time.

    `tiles` is the tile number of every weight, and `name` the array's.
    """

    bits: int
    cell: int
    encoding: str
    top: int
    clip: bool | str = False
    us: tuple[float, float] | None = None
    time: float | None = None
    tiles: tuple[int, ...] = ()

    @property
    def step(self) -> float:
        """Microsiemens in a level step."""
        return (self.us[1] - self.us[0]) / self.top if self.us else 1.0

    @property
    def off(self) -> float:
        """Level steps that level 0 conducts."""
        return self.us[0] / self.step if self.us else 0.0

    def x(self, level: Any) -> Any:
        """Conductance over the highest."""
        return (f32(level) + f32(self.off)) / f32(self.top + self.off)

    def unit(self, basis: str, level: Any) -> Any:
        """Level steps in one unit of a basis."""
        if basis == "value":
            return f32(level) + f32(self.off)
        if basis == "inverse":
            x = self.x(level)
            return f32(0) if x == 0 else f32(self.top + self.off) / abs(x)
        return {"level": 1.0, "full_range": float(self.top), "us": 1 / self.step}[basis]

    @property
    def stored(self) -> int:
        if self.bits == 1:  # +1 or -1: the sign is the only bit
            return 0 if self.encoding == "sign-magnitude" else 1
        return self.bits + 1 if self.encoding == "offset" else self.bits

    @property
    def planes(self) -> list[tuple[int, int]]:
        """(slice, polarity) of every plane, in order."""
        count = max(1, math.ceil(self.stored / self.cell))
        polarities = (1, -1) if self.encoding in ("differential", "balanced") else (1,)
        return [(i, polarity) for i in range(count) for polarity in polarities]

    def digits(self, code: int) -> list[int]:
        found: list[int] = []
        for i, polarity in self.planes:
            if self.encoding == "offset":
                held = (code + 1) // 2 if self.bits == 1 else code + 2**self.bits - 1
            elif self.encoding == "differential":
                held = max(polarity * code, 0)
            elif self.encoding == "balanced":
                digit = abs(code) // 2 ** (i * self.cell) % 2**self.cell
                top = 2 ** self.bits_of(i) - 1
                found.append((top + polarity * (digit if code > 0 else -digit)) // 2)
                continue
            else:
                held = abs(code)
            found.append(held // 2 ** (i * self.cell) % 2**self.cell)
        return found

    def bits_of(self, i: int) -> int:
        return min(self.cell, self.stored - i * self.cell)


@dataclass
class State:
    levels: np.ndarray  # (planes, weights)
    sign: np.ndarray
    weights: np.ndarray
    pulses: np.ndarray | None = None


def program(
    codes: list[int], scale: float, spec: Spec, sources: list[dict[str, Any]], key: tuple[Any, ...]
) -> State:
    """The state of one flat array; `key` is (seed, chip, array name)."""
    planes, size = spec.planes, len(codes)
    digits = [spec.digits(code) for code in codes]
    targets = [[digits[w][p] for w in range(size)] for p in range(len(planes))]
    sign = [-1 if spec.encoding == "sign-magnitude" and code < 0 else 1 for code in codes]
    seen: dict[str, int] = {}
    draws: list[np.random.Generator] = []
    pulses = None
    for source in sources:
        kind = source["type"]
        seen[kind] = seen.get(kind, -1) + 1
        name = f"{kind}#{seen[kind]}" if seen[kind] else kind
        whole = source.get("scope") == "chip"
        draws.append(stream(*key[:2], name) if whole else stream(*key, name))
    pairs = list(zip(sources, draws, strict=True))
    for source, rng in pairs:
        if source["type"] == "bitflip":
            _flip(targets, sign, spec, source["p"], rng)
    levels = [[f32(level) for level in plane] for plane in targets]
    for source, rng in pairs:
        if source["type"] == "programming":
            taken = _spread(levels, targets, source, spec, rng)
            if taken is not None:
                pulses = taken if pulses is None else pulses + taken
        elif source["type"] == "programming-uniform":
            _spread_evenly(levels, targets, source, spec, rng)
        elif source["type"] == "telegraph":
            _trap(levels, source, spec, rng)
        elif source["type"] == "temperature-coefficient":
            _warm(levels, source, spec, rng)
        elif source["type"] in ("endurance", "read-disturb"):
            _wear(levels, source, spec, rng)
        elif source["type"] == "stuck-at":
            _stick(levels, source, spec, rng)
        elif source["type"] == "retention":
            _age(levels, targets, source, spec, rng)
        elif source["type"] == "global":
            _move(levels, source, spec, rng)
    if spec.clip == "zero":
        levels = [[max(g, f32(0 - spec.off)) for g in plane] for plane in levels]
    elif spec.clip:
        levels = [[min(max(g, f32(0)), f32(spec.top)) for g in plane] for plane in levels]
    weights = [_weight(levels, sign[w], w, spec) * f32(scale) for w in range(size)]
    largest = f32(scale) * f32(2**spec.bits - 1)
    for source, rng in pairs:
        _disturb(weights, source, largest, rng)
    return State(np.array(levels), np.array(sign, f32), np.array(weights), pulses)


def _flip(targets: list, sign: list, spec: Spec, p: float, rng: np.random.Generator) -> None:
    for w in range(len(sign)):
        if rng.random() < p and spec.encoding == "sign-magnitude":
            sign[w] = -sign[w]
    for plane, (i, _) in enumerate(spec.planes):
        for bit in range(spec.bits_of(i)):
            for w in range(len(sign)):
                if rng.random() < p:
                    targets[plane][w] ^= 1 << bit


def law(source: dict[str, Any], scale: float, level: Any, spec: Spec) -> Any:
    """The spread at one level by the law that the source gives; without one, `scale`."""
    if source.get("profile"):
        return f32(scale * source["profile"][int(level)])
    if source.get("polynomial"):
        value = f32(0)
        for coefficient in reversed(source["polynomial"]):
            value = value * spec.x(level) + f32(scale * coefficient)
        return max(value, f32(0))
    if source.get("saturating"):
        a, b = source["saturating"]["a"], source["saturating"]["b"]
        b = b / spec.step if spec.us else b
        g = max(f32(level) + f32(spec.off), f32(0))
        return f32(scale) * (f32(a) - f32(a) * np.exp(g / f32(-b)))
    return f32(scale)


def rows(table: list[dict[str, Any]], time: float | None) -> list[tuple[dict[str, Any], float]]:
    """The rows around a time and their weights, linear in the logarithm of time."""
    if time is None or time <= table[0]["time_s"]:
        return [(table[0], 1.0)]
    for one, two in zip(table, table[1:], strict=False):
        if time < two["time_s"]:
            share = math.log(time / one["time_s"]) / math.log(two["time_s"] / one["time_s"])
            return [(one, 1 - share), (two, share)]
    return [(table[-1], 1.0)]


def _deviation(source: dict[str, Any], level: int, spec: Spec) -> tuple[Any, Any]:
    """Standard deviation and mean of a cell's error, in level steps."""
    unit, each = spec.unit(source["basis"], level), source["basis"] in ("value", "inverse")
    scale = source["sigma"] * (1.0 if each else unit)
    parts = rows(source["table"], spec.time) if source.get("table") else [(source, 1.0)]
    deviation, mean = f32(0), f32(0)
    for row, weight in parts:
        deviation += law(row, weight * scale, level, spec)
        bias = row.get("bias", {})
        if "profile" in bias:
            mean += f32(weight) * f32(bias["profile"][level]) * f32(unit)
        elif bias:
            value = f32(0)
            for coefficient in reversed(bias["polynomial"]):
                value = value * spec.x(level) + f32(coefficient)
            mean += f32(weight) * value * f32(unit)
    return deviation * (unit if each else f32(1)), mean


def _spread(
    levels: list, targets: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator
) -> Any:
    """Program every cell; with write-verify, pulse after pulse, and say how many each took."""
    shape = len(targets), len(targets[0])
    laws = [[_deviation(source, level, spec) for level in row] for row in targets]
    most = source.get("max_pulses", 1)
    errors = [[None] * shape[1] for _ in targets]
    pulses = np.zeros(shape, np.int16)
    for _ in range(most):
        normals = rng.standard_normal(shape, dtype=np.float32)
        for plane, w in np.ndindex(*shape):
            bound = source.get("tolerance", 0) * spec.unit(source["basis"], targets[plane][w])
            error = errors[plane][w]
            if error is None or abs(error) > f32(bound):
                deviation, mean = laws[plane][w]
                errors[plane][w] = deviation * normals[plane, w] + mean
                pulses[plane, w] += 1
    for plane, w in np.ndindex(*shape):
        levels[plane][w] += errors[plane][w]
    return pulses if "tolerance" in source else None


def _spread_evenly(
    levels: list, targets: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator
) -> None:
    """Move every cell by a number between two bounds."""
    for plane, row in enumerate(targets):
        for w, level in enumerate(row):
            unit, each = spec.unit(source["basis"], level), source["basis"] in ("value", "inverse")
            bound = law(source, source["amplitude"] * (1.0 if each else unit), level, spec)
            bound *= unit if each else f32(1)
            levels[plane][w] += bound * (f32(2) * f32(rng.random()) - f32(1))


def _age(
    levels: list, targets: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator
) -> None:
    if spec.time is None or spec.time <= source["t0_s"]:
        return
    for plane, row in enumerate(targets):
        for w, level in enumerate(row):
            normal = rng.standard_normal(dtype=np.float32)
            mean, std = (_exponent(source[key], level, spec) for key in ("nu_mean", "nu_std"))
            nu = max(mean + std * normal, f32(0))
            kept = np.exp(-f32(math.log(spec.time / source["t0_s"])) * nu)
            levels[plane][w] = (levels[plane][w] + f32(spec.off)) * kept - f32(spec.off)


def _exponent(form: Any, level: int, spec: Spec) -> Any:
    if not isinstance(form, dict):
        return f32(form)
    value = f32(form["slope"]) * np.log(max(spec.x(level), f32(1e-7))) + f32(form["intercept"])
    return min(max(value, f32(form["min"])), f32(form["max"]))


def _move(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    """Shift the cells of the chip, the array, or each tile of each plane."""
    tiles = spec.tiles if source["scope"] == "tile" else (0,) * len(levels[0])
    one = source["scope"] != "tile"
    for plane, row in enumerate(levels):
        if plane == 0 or not one:
            normals = rng.standard_normal(max(tiles) + 1, dtype=np.float32)
        for w, g in enumerate(row):
            unit = spec.unit(source["basis"], g)
            row[w] = g + f32(source["sigma"] * unit) * normals[tiles[w]]


def read_spread(level: Any, target: Any, source: dict[str, Any], spec: Spec) -> Any:
    """Standard deviation of one read of a cell that was programmed for `target`, in level steps."""
    unit = spec.unit(source["basis"], level)
    scale = source.get("sigma", 1.0)
    noise = source.get("one_over_f")
    if noise is not None:
        x = max(spec.x(target), f32(1e-7))
        read = noise["t_read_s"]
        grown = math.sqrt(math.log((spec.time + read) / (2 * read)))
        return scale * min(noise["q"] / x ** noise["exponent"], noise["q_max"]) * grown * abs(unit)
    return abs(law(source, scale, level, spec) * unit)


def _stick(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    for row in levels:
        for w in range(len(row)):
            u = rng.random()
            if u < source["p_low"]:
                row[w] = f32(0)
            elif u >= 1 - source["p_high"]:
                row[w] = f32(spec.top)


def _warm(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    """Let every cell conduct more or less, in proportion to what it conducts."""
    warmer = source["temperature_c"] - source["reference_c"]
    for row in levels:
        for w, g in enumerate(row):
            spread = f32(warmer * source["std_per_k"]) * rng.standard_normal(dtype=np.float32)
            kept = max(f32(1 + warmer * source["per_k"]) + spread, f32(0))
            row[w] = (g + f32(spec.off)) * kept - f32(spec.off)


def _wear(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    """What writes and reads did to every cell."""
    end = {"low": 0.0, "high": spec.top, "zero": -spec.off}.get(source.get("towards", ""), 0.0)
    for row in levels:
        for w, g in enumerate(row):
            if source["type"] == "endurance":
                decades = math.log10(source["writes"] / source["closing_from"])
                window = 1 - source["closing"] * decades
                low, high = (f32(spec.top * (1 + s * window) / 2) for s in (-1, 1))
                failed = 1 - math.exp(-((source["writes"] / source["life"]) ** source["shape"]))
                u = rng.random()
                row[w] = min(max(g, low), high)
                if u < failed * (1 - source["high"]):
                    row[w] = f32(0)
                elif 1 - u <= failed * source["high"]:
                    row[w] = f32(spec.top)
            elif "p" in source:
                if rng.random() < 1 - (1 - source["p"]) ** source["reads"]:
                    row[w] = f32(end)
            else:
                normal = rng.standard_normal(dtype=np.float32)
                way = f32(source["reads"] * source["rate"])
                way *= np.exp(f32(source["rate_std"]) * normal)
                row[w] = f32(end) + (g - f32(end)) * np.exp(-way)


def _trap(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    """Put every cell that has a trap into one of its two states."""
    p, share = source["occupancy"], source["share"]
    for row in levels:
        for w, g in enumerate(row):
            u, unit = rng.random(), f32(source["amplitude"] * spec.unit(source["basis"], g))
            if u < share * p:
                row[w] = g + f32(p - 1) * unit
            elif u < share:
                row[w] = g + f32(p) * unit


def _weight(levels: list, sign: int, w: int, spec: Spec) -> Any:
    total = f32(0)
    if spec.bits == 1 and spec.encoding == "offset":  # levels 0 and 1 are -1 and +1
        return f32(2) * levels[0][w] - f32(1)
    for plane, (i, polarity) in enumerate(spec.planes):
        total += levels[plane][w] * f32(polarity * 2 ** (i * spec.cell))
    if spec.encoding == "sign-magnitude":
        return total * f32(sign)
    return total - f32(2**spec.bits - 1) if spec.encoding == "offset" else total


def _disturb(weights: list, source: dict[str, Any], largest: Any, rng: np.random.Generator) -> None:
    for w in range(len(weights)):
        match source["type"]:
            case "additive":
                step = f32(source["sigma"]) * largest
                weights[w] += step * rng.standard_normal(dtype=np.float32)
            case "multiplicative":
                normal = rng.standard_normal(dtype=np.float32)
                weights[w] *= f32(1) + f32(source["sigma"]) * normal
            case "uniform":
                u = f32(2) * f32(rng.random()) - f32(1)
                weights[w] += f32(source["amplitude"]) * largest * u
            case "lognormal-drift":
                normal = rng.standard_normal(dtype=np.float32)
                weights[w] *= f32(np.exp(f32(source["sigma"]) * normal))
            case _:
                return
