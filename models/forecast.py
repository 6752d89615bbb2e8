"""A forecast by two LSTM layers and a dense one (Ahmed et al., DATE 2024, Sec. IV-A)."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Forecast"]


class Forecast(nn.Module):
    """Two LSTM layers and a dense one. The paper does not state their size.

    Args:
        units: Of each layer.
    """

    def __init__(self, units: int = 16) -> None:
        super().__init__()
        self.first = nn.LSTM(1, units, batch_first=True)
        self.second = nn.LSTM(units, units, batch_first=True)
        self.dense = nn.Linear(units, 1)

    def forward(self, weeks: Tensor) -> Tensor:
        """Next week's value (N, 1) from weeks (N, T, 1)."""
        steps, _ = self.first(weeks)
        steps, _ = self.second(steps)
        return self.dense(steps[:, -1])
