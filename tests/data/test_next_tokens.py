"""Labels of causal language models: the next tokens, where one asks for them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvmc.data import IGNORED, load_data
from nvmc.errors import DataError

TOKENS = np.array([[3, 1, 4, 1], [5, 9, 0, 0], [0, 2, 6, 5]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]])


def next_of(folder: Path, **arrays: Any) -> np.ndarray:
    np.savez(folder / "texts.npz", **arrays)
    found = load_data(f"next:{folder / 'texts.npz'}")
    assert found.name == f"next:{folder / 'texts.npz'}"
    assert found.y is not None
    return found.y


@pytest.mark.parametrize("name", ["input_ids", "tokens", "x"])
def test_label_is_the_token_behind(tmp_path: Path, name: str) -> None:
    labels = next_of(tmp_path, **{name: TOKENS})
    assert np.array_equal(labels[:, :-1], TOKENS[:, 1:])
    assert (labels[:, -1] == IGNORED).all()


def test_padding_is_no_label_and_predicts_none(tmp_path: Path) -> None:
    """Behind a text, and in front of one: only neighbours that are both text count."""
    labels = next_of(tmp_path, input_ids=TOKENS, attention_mask=MASK, token_type_ids=0 * TOKENS)
    none = IGNORED
    expected = [[1, 4, 1, none], [9, none, none, none], [none, 6, 5, none]]
    assert labels.tolist() == expected


@pytest.mark.parametrize("name", ["input_ids", "tokens"])
def test_one_input_of_any_name_may_have_a_mask_beside_it(tmp_path: Path, name: str) -> None:
    """Exporters call it x0 or tokens; the mask is no input of the network, and says padding."""
    np.savez(tmp_path / "texts.npz", **{name: TOKENS}, attention_mask=MASK)
    data = load_data(f"next:{tmp_path / 'texts.npz'}")
    assert data.y is not None and data.y[1].tolist() == [9, IGNORED, IGNORED, IGNORED]
    assert np.array_equal(data.for_network(["x0"]).x, TOKENS)
    with pytest.raises(DataError, match="the network's inputs are x0, x1"):
        data.for_network(["x0", "x1"])


def test_encoder_decoders_say_the_next_token_of_the_decoder(tmp_path: Path) -> None:
    source = np.full((3, 7), 8)
    arrays = {"input_ids": source, "attention_mask": np.zeros_like(source)}
    labels = next_of(tmp_path, **arrays, decoder_input_ids=TOKENS)
    assert np.array_equal(labels[:, :-1], TOKENS[:, 1:])
    labels = next_of(tmp_path, **arrays, decoder_input_ids=TOKENS, decoder_attention_mask=MASK)
    assert labels[1].tolist() == [9, IGNORED, IGNORED, IGNORED]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_ids": TOKENS, "y": TOKENS}, "holds y, but labels are to be the next tokens"),
        ({"input_ids": TOKENS + 0.5}, "needs tokens, whole numbers of shape"),
        ({"input_ids": TOKENS[0]}, "needs tokens, whole numbers of shape"),
        ({"a": TOKENS, "b": TOKENS}, "holds a, b, but next: needs tokens"),
        ({"input_ids": TOKENS, "attention_mask": MASK[:, 1:]}, r"shape \[3, 3\], but input_ids"),
        ({"input_ids": TOKENS, "attention_mask": 0 * MASK}, "has a next one; give longer"),
        ({"input_ids": TOKENS[:, :1]}, "has a next one; give longer"),
    ],
)
def test_what_has_no_next_tokens(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        next_of(tmp_path, **arrays)


def test_only_npz_files_have_next_tokens() -> None:
    with pytest.raises(DataError, match="'next:digits'; expected next:FILE.npz"):
        load_data("next:digits")
