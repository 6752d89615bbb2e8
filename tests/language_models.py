"""Transformers in torch as they are exported: GPT-2, BERT, an encoder-decoder and Llama, any size.

Parameters have the names that the original projects give them where a study loads their weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, seen: Tensor | None = None) -> Tensor:
    """Scaled dot products of (N, T, D) in heads; `seen` is added to the scores."""

    def apart(x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, heads, x.shape[2] // heads).transpose(1, 2)

    q, k, v = map(apart, (q, k, v))
    scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
    mixed = (scores if seen is None else scores + seen).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


def causal(length: int) -> Tensor:
    """What is added to scores so that no token sees a later one, (T, T)."""
    return torch.full((length, length), -1e9).triu(1)


class Gpt2Block(nn.Module):
    """Norm first, one matrix for queries, keys and values, GELU by tanh."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.attn_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        parts = self.c_attn(self.ln_1(x)).chunk(3, -1)
        x = x + self.attn_proj(attention(*parts, self.heads, seen))
        return x + self.c_proj(functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """input_ids (N, T) -> scores of the next token (N, T, V)."""

    def __init__(
        self, words: int, width: int, layers: int, heads: int, length: int, tied: bool = True
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.h = nn.ModuleList(Gpt2Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, words, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 if width > 32 else 0.2)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        length = input_ids.shape[1]
        x = self.wte(input_ids) + self.wpe(torch.arange(length))
        for block in self.h:
            x = block(x, causal(length))
        return self.lm_head(self.ln_f(x))


class BertLayer(nn.Module):
    """Norm last, as BERT has it."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        norm = {"eps": 1e-12}
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(width, **norm), nn.LayerNorm(width, **norm)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        mixed = attention(self.query(x), self.key(x), self.value(x), self.heads, seen)
        x = self.norm_1(x + self.output(mixed))
        return self.norm_2(x + self.down(functional.gelu(self.up(x))))


class Bert(nn.Module):
    """Words, mask and types (N, T) -> states (N, T, D), padding unseen."""

    def __init__(
        self, words: int, width: int, layers: int, heads: int, length: int, inner: int
    ) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, heads, inner) for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        places = self.places(torch.arange(input_ids.shape[1]))
        x = self.norm(self.words(input_ids) + self.types(token_type_ids) + places)
        seen = (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        for layer in self.layers:
            x = layer(x, seen)
        return x


class BertTagger(nn.Module):
    """A class for each token, (N, T, C)."""

    def __init__(self, classes: int, **sizes: int) -> None:
        super().__init__()
        self.bert = Bert(**sizes)
        self.head = nn.Linear(sizes["width"], classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        return self.head(self.bert(input_ids, attention_mask, token_type_ids))


class Seq2SeqLayer(nn.Module):
    """Norm first; a decoder's layer attends to the encoder's states, too."""

    def __init__(self, width: int, heads: int, crossed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + crossed))
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.cross = nn.ModuleList(nn.Linear(width, width) for _ in range(4 * crossed))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, seen: Tensor, memory: Tensor | None = None) -> Tensor:
        n = self.norms[0](x)
        query, key, value, output = self.own
        x = x + output(attention(query(n), key(n), value(n), self.heads, seen))
        if memory is not None:
            query, key, value, output = self.cross
            mixed = attention(query(self.norms[2](x)), key(memory), value(memory), self.heads)
            x = x + output(mixed)
        return x + self.down(torch.relu(self.up(self.norms[1](x))))


class Seq2Seq(nn.Module):
    """Source (N, S) with its mask, target (N, T) -> scores of the next target token (N, T, V)."""

    def __init__(self, words: int, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.encoder, self.decoder = (
            nn.ModuleList(Seq2SeqLayer(width, heads, crossed) for _ in range(layers))
            for crossed in (False, True)
        )
        self.head = nn.Linear(width, words)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_ids: Tensor) -> Tensor:
        memory = self._embedded(input_ids)
        seen = (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        for layer in self.encoder:
            memory = layer(memory, seen)
        x = self._embedded(decoder_ids)
        for layer in self.decoder:
            x = layer(x, causal(decoder_ids.shape[1]), memory)
        return self.head(x)

    def _embedded(self, ids: Tensor) -> Tensor:
        return self.words(ids) + self.places(torch.arange(ids.shape[1]))


class RmsNorm(nn.Module):
    """Root mean square norm, spelt out as Llama's code does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class LlamaBlock(nn.Module):
    """RMSNorm, rotary positions, fewer heads of keys than of queries, SwiGLU."""

    def __init__(self, width: int, heads: int, groups: int, inner: int) -> None:
        super().__init__()
        self.heads, self.groups, self.size = heads, groups, width // heads
        self.norm_1, self.norm_2 = RmsNorm(width), RmsNorm(width)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, groups * self.size, bias=False)
        self.v_proj = nn.Linear(width, groups * self.size, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        n, (batch, length, _) = self.norm_1(x), x.shape
        q = self.q_proj(n).view(batch, length, self.heads, self.size).transpose(1, 2)
        k = self.k_proj(n).view(batch, length, self.groups, self.size).transpose(1, 2)
        v = self.v_proj(n).view(batch, length, self.groups, self.size).transpose(1, 2)
        q, k = turned(q, *turns), turned(k, *turns)
        k, v = (
            x[:, :, None].expand(-1, -1, self.heads // self.groups, -1, -1).flatten(1, 2)
            for x in (k, v)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o_proj(mixed.transpose(1, 2).flatten(2))
        n = self.norm_2(x)
        return x + self.down(functional.silu(self.gate(n)) * self.up(n))


def turned(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions: halves of (N, H, T, D) turned by angles (T, D)."""
    left, right = x.chunk(2, -1)
    return x * cosine + torch.cat((-right, left), -1) * sine


class Llama(nn.Module):
    """input_ids (N, T) -> scores of the next token (N, T, V)."""

    def __init__(
        self, words: int, width: int, layers: int, heads: int, groups: int, inner: int
    ) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(words, width)
        self.layers = nn.ModuleList(LlamaBlock(width, heads, groups, inner) for _ in range(layers))
        self.norm = RmsNorm(width)
        self.lm_head = nn.Linear(width, words, bias=False)
        size = width // heads
        rates = 10000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("rates", torch.cat((rates, rates)))

    def forward(self, input_ids: Tensor) -> Tensor:
        angles = torch.arange(input_ids.shape[1])[:, None] * self.rates
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, (angles.cos(), angles.sin()))
        return self.lm_head(self.norm(x))


def exported(
    model: nn.Module,
    path: Path,
    inputs: dict[str, Tensor],
    outputs: tuple[str, ...] = ("logits",),
    dynamo: bool = True,
    free: dict[int, str] | None = None,
) -> Path:
    """Write `model` as ONNX, with the axes `free` (of images and tokens) of every input free."""
    names, axes = list(inputs), free or {0: "batch", 1: "sequence"}
    model.eval()
    options: dict[str, Any] = {"input_names": names, "output_names": list(outputs)}
    if dynamo:
        sizes = {axis: torch.export.Dim(name) for axis, name in axes.items()}
        shapes = tuple({axis: sizes[axis] for axis in axes} for _ in names)
        options |= {"dynamic_shapes": shapes, "verbose": False}
    else:
        options |= {"dynamic_axes": dict.fromkeys((*names, *outputs), axes), "opset_version": 17}
    with torch.no_grad():
        torch.onnx.export(model, tuple(inputs.values()), path, dynamo=dynamo, **options)
    return path
