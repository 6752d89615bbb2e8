"""Small networks in plain torch, each of a kind that is common: their graphs, not their fame."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from conformance.case import Case, exported

__all__ = ["CASES"]


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.SiLU())


class _UNet(nn.Module):
    def __init__(self, learned: bool = True) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = _block(3, 16), _block(16, 32), _block(32, 64)
        up = nn.ConvTranspose2d(64, 32, 2, 2)
        self.up2 = up if learned else nn.Sequential(nn.Upsample(scale_factor=2), _block(64, 32))
        self.up1 = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.join2, self.join1, self.out = _block(64, 32), _block(32, 16), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.up2(self.middle(F.max_pool2d(b, 2)))
        d = self.up1(self.join2(torch.cat([c, b], 1)))
        return self.out(self.join1(torch.cat([d, a], 1)))


class _YoloHead(nn.Module):
    """YOLOv5's way: boxes decoded on a grid, all levels in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), _block(32, 32, 2))
        self.next = _block(32, 64, 2)
        self.heads = nn.ModuleList([nn.Conv2d(32, 3 * 9, 1), nn.Conv2d(64, 3 * 9, 1)])

    def forward(self, x: Tensor) -> Tensor:
        first = self.stem(x)
        found: list[Tensor] = []
        for head, level in zip(self.heads, (first, self.next(first)), strict=True):
            y = head(level)
            n, _, h, w = y.shape
            y = y.view(n, 3, 9, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((columns, rows), 2).view(1, 1, h, w, 2).float()
            xy, wh, scores = y.split((2, 2, 5), 4)
            boxes = torch.cat(((xy * 2 - 0.5 + grid) * 8, (wh * 2) ** 2 * 16, scores), 4)
            found.append(boxes.view(n, 3 * h * w, 9))
        return torch.cat(found, 1)


class _YoloDfl(nn.Module):
    """YOLOv8's way: decoupled heads, and a distribution over distances behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(3, 16, 2), _block(16, 32, 2), _block(32, 32, 2))
        self.boxes, self.classes = nn.Conv2d(32, 64, 3, 1, 1), nn.Conv2d(32, 7, 3, 1, 1)
        self.project = nn.Conv2d(16, 1, 1, bias=False)
        self.project.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, _, h, w = x.shape
        boxes = self.boxes(x).view(n, 4, 16, h * w).transpose(2, 1).softmax(1)
        boxes = self.project(boxes).view(n, 4, h * w)
        return torch.cat([boxes, self.classes(x).view(n, 7, h * w).sigmoid()], 1)


class _Tcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        made = [parametrizations.weight_norm(nn.Conv1d(8, 8, 3, dilation=2**i)) for i in range(4)]
        self.convs = nn.ModuleList(made)
        self.out = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        for index, conv in enumerate(self.convs):
            y = F.pad(x, (2 * 2**index, 0))
            x = torch.relu(conv(y) + x)
        return self.out(x[:, :, -1])


class _WaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(120, 16)
        self.gates = nn.ModuleList([nn.Conv1d(16, 32, 2, dilation=2**i) for i in range(4)])
        self.outs = nn.ModuleList([nn.Conv1d(16, 16, 1) for _ in range(4)])
        self.head = nn.Conv1d(16, 120, 1)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words).transpose(1, 2)
        skip = torch.zeros_like(x)
        for index, (gate, out) in enumerate(zip(self.gates, self.outs, strict=True)):
            a, b = gate(F.pad(x, (2**index, 0))).chunk(2, 1)
            y = out(torch.tanh(a) * torch.sigmoid(b))
            x, skip = x + y, skip + y
        return self.head(torch.relu(skip))


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], time: bool = False, **options: bool) -> None:
        super().__init__()
        self.time = time
        self.rnn = kind(6, 16, 2, batch_first=not time, **options)
        self.out = nn.Linear(32 if options.get("bidirectional") else 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x.transpose(0, 1) if self.time else x)
        return self.out(y[-1] if self.time else y[:, -1])


class _Crnn(nn.Module):
    """Text lines: convolutions, then an LSTM over columns; steps first, as CTC wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_block(1, 16), nn.MaxPool2d(2), _block(16, 32), nn.MaxPool2d(2))
        self.rnn = nn.LSTM(32 * 4, 24, bidirectional=True)
        self.out = nn.Linear(48, 11)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = y.flatten(1, 2).permute(2, 0, 1)
        return self.out(self.rnn(y)[0]).permute(1, 0, 2)


class _LstmCell(nn.Module):
    """A loop in Python, which exporters unroll into products."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(6, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        h, c = x.new_zeros(x.shape[0], 16), x.new_zeros(x.shape[0], 16)
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
        return self.out(h)


class _ConvLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates, self.out = nn.Conv2d(11, 32, 3, 1, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], 8, x.shape[3], x.shape[4])
        for step in range(x.shape[1]):
            i, f, o, g = self.gates(torch.cat([x[:, step], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


class _Vae(nn.Module):
    """Encoder, the mean of its code, and a decoder of transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(_block(1, 16, 2), _block(16, 32, 2), nn.Flatten())
        self.mean, self.spread = nn.Linear(32 * 49, 8), nn.Linear(32 * 49, 8)
        self.decode = nn.Sequential(
            nn.Linear(8, 32 * 49),
            nn.Unflatten(1, (32, 7, 7)),
            nn.ConvTranspose2d(32, 16, 3, 2, 1, 1),
            nn.GroupNorm(4, 16),
            nn.GELU(),
            nn.ConvTranspose2d(16, 1, 3, 2, 1, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.encode(x)
        mean = self.mean(y)
        return self.decode(mean), mean, self.spread(y)


class _SuperResolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(1, 16, 5, 1, 2), nn.Tanh(), nn.Conv2d(16, 12, 3, 1, 1)]
        self.net = nn.Sequential(*convs, nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(3, 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)


class _Graph(nn.Module):
    """A graph network: features times an adjacency that comes in beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(7, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        near = torch.softmax(adjacency, -1)
        x = torch.relu(near @ self.a(x))
        x = torch.relu(near @ self.b(x))
        return self.out(x.mean(1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x).mean(1))


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Transformer(32, 4, 2, 2, 64, batch_first=True)
        self.head = nn.Linear(32, 9)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        hidden = nn.Transformer.generate_square_subsequent_mask(y.shape[1])
        return self.head(self.net(x, y, tgt_mask=hidden))


class _Einsum(nn.Module):
    """Attention whose weights stand in einsum, with a bias for each pair of places."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(3, 4, 32, 8) / 6)
        self.out, self.bias = (
            nn.Parameter(torch.randn(4, 8, 32) / 6),
            nn.Parameter(torch.zeros(12, 12)),
        )
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("ntd,hde->nhte", x, w) for w in self.qkv)
        near = torch.softmax(torch.einsum("nhte,nhse->nhts", q, k) / 3 + self.bias, -1)
        y = torch.einsum("nhts,nhse->nthe", near, v)
        return self.head((x + torch.einsum("nthe,hed->ntd", y, self.out)).mean(1))


class _Experts(nn.Module):
    """A mixture of experts, all of them run: products of a stack of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.w = nn.Linear(16, 4), nn.Parameter(torch.randn(4, 16, 24) / 4)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.softmax(self.gate(x), -1)
        y = torch.relu(torch.matmul(x.unsqueeze(0), self.w))
        return self.head((y * shares.t().unsqueeze(-1)).sum(0))


class _Computed(nn.Module):
    """Weights that the graph computes: spectral norm, standardised, binarised, masked."""

    def __init__(self) -> None:
        super().__init__()
        self.a = parametrizations.spectral_norm(nn.Conv2d(3, 16, 3, 1, 1))
        self.b, self.c = (
            nn.Parameter(torch.randn(16, 16, 3, 3)),
            nn.Parameter(torch.randn(16, 16, 3, 3)),
        )
        self.d = nn.Linear(16, 5)
        self.register_buffer("kept", (torch.rand(5, 16) > 0.5).float())

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        spread, mean = torch.var_mean(self.b, (1, 2, 3), keepdim=True)
        x = torch.relu(F.conv2d(x, (self.b - mean) / torch.sqrt(spread + 1e-5) / 12, padding=1))
        x = F.conv2d(x, torch.sign(self.c) * self.c.abs().mean((1, 2, 3), keepdim=True), padding=1)
        return F.linear(torch.relu(x).mean((2, 3)), self.d.weight * self.kept, self.d.bias)


class _Modulated(nn.Module):
    """StyleGAN's convolution: its weights depend on the input, so no crossbar holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.style, self.w = nn.Linear(8, 6), nn.Parameter(torch.randn(10, 6, 3, 3) / 7)
        self.out = nn.Conv2d(10, 3, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = x * self.style(z)[:, :, None, None]
        return self.out(torch.relu(F.conv2d(x, self.w, padding=1)))


class _Gated(nn.Module):
    """Squeeze and excitation, channel shuffle, groups, dilation: a keyword spotter's parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(1, 16, (10, 4), (2, 2)), nn.Conv2d(16, 16, 3, 1, 2, 2, 4)
        self.gate = nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1))
        self.out = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem(x))
        n, c, h, w = x.shape
        x = self.wide(x.view(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w))
        x = x * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))
        return self.out(torch.relu(x).amax((2, 3)))


def _volumes() -> nn.Module:
    convs = [nn.Conv3d(1, 8, 3, 2, 1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 8, 3, 1, 1)]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 4))


def _autoencoder() -> nn.Module:
    sizes, layers = (784, 128, 32, 128, 784), []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-2])


def _floats(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(2, *shape)


def _words(length: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(3, 120, (2, length))


IMAGE, STEPS = _floats(3, 32, 32), _floats(12, 6)
PAIR = (_floats(12, 32), _floats(7, 32))
NETS: list[tuple[str, Callable[[], nn.Module], tuple[Callable[[], Tensor], ...]]] = [
    ("U-Net", _UNet, (IMAGE,)),
    ("U-Net, resized", lambda: _UNet(False), (IMAGE,)),
    ("YOLOv5-like", _YoloHead, (_floats(3, 64, 64),)),
    ("YOLOv8-like", _YoloDfl, (_floats(3, 64, 64),)),
    ("TCN, weight norm", _Tcn, (_floats(8, 40),)),
    ("WaveNet", _WaveNet, (_words(40),)),
    ("LSTM", lambda: _Recurrent(nn.LSTM), (STEPS,)),
    ("LSTM, bidirectional", lambda: _Recurrent(nn.LSTM, bidirectional=True), (STEPS,)),
    ("GRU, steps first", lambda: _Recurrent(nn.GRU, True), (STEPS,)),
    ("RNN", lambda: _Recurrent(nn.RNN), (STEPS,)),
    ("LSTM cells, unrolled", _LstmCell, (STEPS,)),
    ("ConvLSTM", _ConvLstm, (_floats(4, 3, 16, 16),)),
    ("CRNN", _Crnn, (_floats(1, 16, 64),)),
    ("VAE", _Vae, (_floats(1, 28, 28),)),
    ("super resolution", _SuperResolution, (_floats(1, 24, 24),)),
    ("autoencoder", _autoencoder, (_floats(784),)),
    ("graph network", _Graph, (_floats(9, 7), _floats(9, 9))),
    ("transformer encoder", Encoder, (_floats(12, 32),)),
    ("transformer, both halves", _Pair, PAIR),
    ("einsum attention", _Einsum, (_floats(12, 32),)),
    ("mixture of experts", _Experts, (_floats(16),)),
    ("computed weights", _Computed, (IMAGE,)),
    ("modulated convolution", _Modulated, (_floats(6, 16, 16), _floats(8))),
    ("keyword spotter", _Gated, (_floats(1, 40, 20),)),
    ("3-D convolutions", _volumes, (_floats(1, 8, 16, 16),)),
]
"""Name, module, inputs; exporters take turns."""
OPSETS = (18, 20, 23), (11, 13, 14, 16, 17, 20)
"""Of dynamo and of TorchScript."""


def _cases() -> list[Case]:
    found: list[Case] = []
    for index, (name, build, inputs) in enumerate(NETS):
        dynamo = index % 2 == 0
        opsets = OPSETS[0 if dynamo else 1]
        opset = opsets[index // 2 % len(opsets)]
        found.append(exported(name, "plain torch", build, *inputs, opset=opset, dynamo=dynamo))
    plain = [("U-Net", _UNet, (IMAGE,)), ("transformer encoder", Encoder, (_floats(12, 32),))]
    for name, build, inputs in plain:
        case = exported(
            f"{name} (not optimised)",
            "plain torch",
            build,
            *inputs,
            opset=18,
            dynamo=True,
            optimize=False,
        )
        found.append(case)
    return found


CASES = _cases()
