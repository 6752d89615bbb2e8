"""Networks of Hugging Face's transformers with random weights: small ones, and some of real size.

Each is wrapped so that it takes and gives plain tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from conformance.case import Case, exported

__all__ = ["CASES"]

WORDS, LENGTH = 120, 16
SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
HF = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
PAIRS = {**HF, "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
IMAGES = {**SMALL, "image_size": 32, "patch_size": 8, "num_labels": 10}


class _Wrapped(nn.Module):
    """A network of transformers on inputs by name, and its first output."""

    def __init__(self, net: nn.Module, names: tuple[str, ...], **fixed: Any) -> None:
        super().__init__()
        self.net, self.names, self.fixed = net, names, fixed

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        named = dict(zip(self.names, (first, second), strict=False))
        return self.net(**named, **self.fixed, return_dict=False)[0]


def words(length: int = LENGTH) -> Callable[[], Tensor]:
    """Token numbers."""
    return lambda: torch.randint(3, WORDS, (2, length))


def mask(length: int = LENGTH) -> Callable[[], Tensor]:
    """A mask that hides nothing."""
    return lambda: torch.ones(2, length, dtype=torch.int64)


def floats(*shape: int) -> Callable[[], Tensor]:
    """Images or sounds."""
    return lambda: torch.randn(2, *shape)


def _net(model: str, names: tuple[str, ...], fixed: dict[str, Any], config: dict[str, Any]) -> Any:
    def build() -> nn.Module:
        import transformers

        kind = getattr(transformers, model)
        made = kind.config_class(**config)
        made._attn_implementation = "eager"
        fixed_too = {"use_cache": False} if fixed.get("cache") else {}
        rest = {key: value for key, value in fixed.items() if key != "cache"}
        return _Wrapped(kind(made), names, **fixed_too, **rest)

    return build


IDS, MASKED = ("input_ids",), ("input_ids", "attention_mask")
SPOKEN = ("input_features", "decoder_input_ids")
CACHE = {"cache": True}

Row = tuple[str, str, tuple[str, ...], list[Callable[[], Tensor]], int, bool, dict[str, Any], Any]

ROWS: list[Row] = [
    ("BERT", "BertForSequenceClassification", MASKED, [words(), mask()], 14, False, {}, SMALL),
    ("BERT (dynamo)", "BertForTokenClassification", MASKED, [words(), mask()], 18, True, {}, SMALL),
    (
        "BERT-base, 1000 words",
        "BertForSequenceClassification",
        MASKED,
        [words(), mask()],
        14,
        False,
        {},
        {"vocab_size": 1000},
    ),
    (
        "DistilBERT",
        "DistilBertForSequenceClassification",
        MASKED,
        [words(), mask()],
        13,
        False,
        {},
        {"vocab_size": WORDS, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
    ("RoBERTa", "RobertaForSequenceClassification", MASKED, [words(), mask()], 18, True, {}, SMALL),
    (
        "ALBERT (shared layers)",
        "AlbertForSequenceClassification",
        MASKED,
        [words(), mask()],
        16,
        False,
        {},
        {**SMALL, "embedding_size": 32},
    ),
    (
        "DeBERTa-v2",
        "DebertaV2ForSequenceClassification",
        MASKED,
        [words(), mask()],
        17,
        False,
        {},
        {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    ("ELECTRA", "ElectraForSequenceClassification", MASKED, [words(), mask()], 18, True, {}, SMALL),
    (
        "MPNet",
        "MPNetForSequenceClassification",
        MASKED,
        [words(), mask()],
        18,
        True,
        {},
        SMALL,
    ),
    (
        "GPT-2",
        "GPT2LMHeadModel",
        IDS,
        [words()],
        18,
        True,
        CACHE,
        {"vocab_size": WORDS, "n_embd": 64, "n_layer": 2, "n_head": 4},
    ),
    (
        "GPT-2 (TorchScript)",
        "GPT2LMHeadModel",
        IDS,
        [words()],
        14,
        False,
        CACHE,
        {"vocab_size": WORDS, "n_embd": 64, "n_layer": 2, "n_head": 4},
    ),
    (
        "OPT",
        "OPTForCausalLM",
        MASKED,
        [words(), mask()],
        18,
        True,
        CACHE,
        {**SMALL, "ffn_dim": 128, "word_embed_proj_dim": 64},
    ),
    ("Llama", "LlamaForCausalLM", IDS, [words()], 18, True, CACHE, SMALL),
    (
        "Llama (TorchScript)",
        "LlamaForCausalLM",
        IDS,
        [words()],
        17,
        False,
        CACHE,
        {**SMALL, "num_key_value_heads": 2},
    ),
    (
        "Qwen2 (grouped queries)",
        "Qwen2ForCausalLM",
        IDS,
        [words()],
        23,
        True,
        CACHE,
        {**SMALL, "num_key_value_heads": 2},
    ),
    (
        "Gemma",
        "GemmaForCausalLM",
        IDS,
        [words()],
        18,
        True,
        CACHE,
        {**SMALL, "num_key_value_heads": 1, "head_dim": 16},
    ),
    (
        "T5",
        "T5ForConditionalGeneration",
        ("input_ids", "decoder_input_ids"),
        [words(), words(8)],
        18,
        True,
        CACHE,
        {
            "vocab_size": WORDS,
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
        },
    ),
    (
        "T5 (TorchScript)",
        "T5ForConditionalGeneration",
        ("input_ids", "decoder_input_ids"),
        [words(), words(8)],
        15,
        False,
        CACHE,
        {
            "vocab_size": WORDS,
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
        },
    ),
    (
        "BART",
        "BartForConditionalGeneration",
        ("input_ids", "decoder_input_ids"),
        [words(), words(8)],
        17,
        False,
        CACHE,
        {**PAIRS, "vocab_size": WORDS},
    ),
    (
        "Whisper",
        "WhisperForConditionalGeneration",
        SPOKEN,
        [floats(20, 60), words(8)],
        18,
        True,
        CACHE,
        {
            **PAIRS,
            "vocab_size": WORDS,
            "num_mel_bins": 20,
            "max_source_positions": 30,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
    ),
    (
        "wav2vec 2.0",
        "Wav2Vec2ForCTC",
        ("input_values",),
        [floats(1600)],
        17,
        False,
        {},
        {
            **SMALL,
            "conv_dim": [32] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
    ),
    (
        "ViT",
        "ViTForImageClassification",
        ("pixel_values",),
        [floats(3, 32, 32)],
        18,
        True,
        {},
        IMAGES,
    ),
    (
        "SegFormer",
        "SegformerForSemanticSegmentation",
        ("pixel_values",),
        [floats(3, 64, 64)],
        17,
        False,
        {},
        {"hidden_sizes": [16, 32, 48, 64], "decoder_hidden_size": 32, "depths": [1, 1, 1, 1]},
    ),
    (
        "YOLOS",
        "YolosForObjectDetection",
        ("pixel_values",),
        [floats(3, 32, 32)],
        17,
        False,
        {},
        {**IMAGES, "image_size": [32, 32], "num_detection_tokens": 5},
    ),
    (
        "CLIP's image encoder",
        "CLIPVisionModelWithProjection",
        ("pixel_values",),
        [floats(3, 32, 32)],
        18,
        True,
        {},
        {**IMAGES, "projection_dim": 32},
    ),
    (
        "Mamba",
        "MambaForCausalLM",
        IDS,
        [words(8)],
        18,
        True,
        CACHE,
        {"vocab_size": WORDS, "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
    ),
    (
        "SqueezeBERT",
        "SqueezeBertForSequenceClassification",
        MASKED,
        [words(), mask()],
        13,
        False,
        {},
        {**SMALL, "embedding_size": 64},
    ),
    (
        "ConvBERT",
        "ConvBertForSequenceClassification",
        MASKED,
        [words(), mask()],
        17,
        False,
        {},
        {**SMALL, "embedding_size": 64},
    ),
    (
        "Funnel",
        "FunnelForSequenceClassification",
        MASKED,
        [words(), mask()],
        17,
        False,
        {},
        {
            "vocab_size": WORDS,
            "d_model": 32,
            "n_head": 4,
            "d_head": 8,
            "d_inner": 64,
            "block_sizes": [1, 1],
        },
    ),
    (
        "Perceiver-like DETR",
        "RTDetrForObjectDetection",
        ("pixel_values",),
        [floats(3, 64, 64)],
        17,
        False,
        {},
        {},
    ),
]


def _case(row: Row) -> Case:
    name, model, names, examples, opset, dynamo, fixed, config = row
    build = _net(model, names, fixed, config)
    return exported(name, "transformers", build, *examples, opset=opset, dynamo=dynamo)


CASES = [_case(row) for row in ROWS]
