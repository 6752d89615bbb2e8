"""Empirical risk minimisation: training that knows the codes but no noise."""

from __future__ import annotations

from typing import ClassVar

from nvmc.training.method import Method

__all__ = ["Erm"]


class Erm(Method):
    """Plain training on quantised weights, straight-through: what the others are compared with."""

    kind: ClassVar[str] = "erm"
    title: ClassVar[str] = "empirical risk minimisation, no noise"
