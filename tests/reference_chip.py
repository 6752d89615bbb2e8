"""A chip programmed cell by cell in plain loops: what `nvmc.chip` is held against.

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
    """H, B, encoding, and the device's highest level and clipping."""

    bits: int
    cell: int
    encoding: str
    top: int
    clip: bool = False

    @property
    def stored(self) -> int:
        return self.bits + 1 if self.encoding == "offset" else self.bits

    @property
    def planes(self) -> list[tuple[int, int]]:
        """(slice, polarity) of every plane, in order."""
        count = math.ceil(self.stored / self.cell)
        polarities = (1, -1) if self.encoding == "differential" else (1,)
        return [(i, polarity) for i in range(count) for polarity in polarities]

    def digits(self, code: int) -> list[int]:
        found: list[int] = []
        for i, polarity in self.planes:
            if self.encoding == "offset":
                held = code + 2**self.bits - 1
            elif self.encoding == "differential":
                held = max(polarity * code, 0)
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
    for source in sources:
        kind = source["type"]
        seen[kind] = seen.get(kind, -1) + 1
        draws.append(stream(*key, f"{kind}#{seen[kind]}" if seen[kind] else kind))
    pairs = list(zip(sources, draws, strict=True))
    for source, rng in pairs:
        if source["type"] == "bitflip":
            _flip(targets, sign, spec, source["p"], rng)
    levels = [[f32(level) for level in plane] for plane in targets]
    for source, rng in pairs:
        if source["type"] == "programming":
            _spread(levels, targets, source, spec, rng)
        elif source["type"] == "stuck-at":
            _stick(levels, source, spec, rng)
    if spec.clip:
        levels = [[min(max(g, f32(0)), f32(spec.top)) for g in plane] for plane in levels]
    weights = [_weight(levels, sign[w], w, spec) * f32(scale) for w in range(size)]
    largest = f32(scale) * f32(2**spec.bits - 1)
    for source, rng in pairs:
        _disturb(weights, source, largest, rng)
    return State(np.array(levels), np.array(sign, f32), np.array(weights))


def _flip(targets: list, sign: list, spec: Spec, p: float, rng: np.random.Generator) -> None:
    for w in range(len(sign)):
        if rng.random() < p and spec.encoding == "sign-magnitude":
            sign[w] = -sign[w]
    for plane, (i, _) in enumerate(spec.planes):
        for bit in range(spec.bits_of(i)):
            for w in range(len(sign)):
                if rng.random() < p:
                    targets[plane][w] ^= 1 << bit


def _spread(
    levels: list, targets: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator
) -> None:
    profile = source.get("profile") or [1] * (spec.top + 1)
    for plane, row in enumerate(targets):
        for w, level in enumerate(row):
            normal = rng.standard_normal(dtype=np.float32)
            levels[plane][w] += f32(source["sigma"] * profile[level]) * normal


def _stick(levels: list, source: dict[str, Any], spec: Spec, rng: np.random.Generator) -> None:
    for row in levels:
        for w in range(len(row)):
            u = rng.random()
            if u < source["p_low"]:
                row[w] = f32(0)
            elif u >= 1 - source["p_high"]:
                row[w] = f32(spec.top)


def _weight(levels: list, sign: int, w: int, spec: Spec) -> Any:
    total = f32(0)
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
