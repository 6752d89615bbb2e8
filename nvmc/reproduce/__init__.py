"""Tables and figures of three papers, done again: what they are, running them, showing them."""

from __future__ import annotations

from nvmc.reproduce.table import EXPERIMENTS, experiment_named

__all__ = ["EXPERIMENTS", "experiment_named"]
