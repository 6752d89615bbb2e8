"""insert-code-head: the code's distances, decoding, and a head that runs anywhere."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given

from nvmc.compiled.operators import PARAMETER
from nvmc.compiled.options import CompileOptions
from nvmc.compiler import compile_model
from nvmc.errors import ModelError, OptionError
from nvmc.hardware.devices import Target, load_device
from nvmc.passes.canonicalize import Canonicalize
from nvmc.passes.insert_code_head import CODE_KEY, InsertCodeHead, code_book, code_logits
from nvmc.passes.io.save import save_model
from onnx_text import model_of, run, text_of

MLP = """g (float[N,6] x) => (float[N,5] y)
<float[6,8] w1, float[8] b1, float[8,5] w2, float[5] b2> {
  h = Gemm (x, w1, b1)
  r = Relu (h)
  y = Gemm (r, w2, b2)
}"""
FORMS = {
    "gemm": MLP,
    "transposed": """g (float[N,6] x) => (float[N,5] y) <float[5,6] w, float[5] b> {
      y = Gemm <transB = 1> (x, w, b)
    }""",
    "no bias": "g (float[N,6] x) => (float[N,5] y) <float[6,5] w> { y = MatMul (x, w) }",
    "added": """g (float[N,6] x) => (float[N,5] y) <float[6,5] w, float[5] b> {
      p = MatMul (x, w)
      y = Add (b, p)
    }""",
    "softmax": """g (float[N,6] x) => (float[N,5] y) <float[6,5] w, float[5] b> {
      p = Gemm (x, w, b)
      s = Identity (p)
      y = LogSoftmax <axis = 1> (s)
    }""",
}


def distances(book: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(len(book), 1)
    return np.count_nonzero(book[rows] != book[columns], axis=1)


@given(st.integers(1, 7).map(lambda power: 2**power), st.data())
def test_words_differ_in_half_their_bits(length: int, data: st.DataObject):
    classes = data.draw(st.integers(2, 2 * length))
    book = code_book(classes, length)
    assert book.shape == (classes, length)
    assert distances(book).min() >= length // 2


@pytest.mark.parametrize(("classes", "length"), [(10, 16), (16, 16), (20, 32), (43, 64)])
def test_no_code_is_better_where_there_are_many_classes(classes: int, length: int):
    """Plotkin: pairs differ at most length * floor(K^2 / 4) times, over K (K - 1) / 2 pairs."""
    bound = length * (classes**2 // 4) / (classes * (classes - 1) / 2)
    assert distances(code_book(classes, length)).min() == int(bound)


@pytest.mark.parametrize(("classes", "length"), [(10, 16), (43, 64), (100, 64)])
def test_no_two_bits_are_the_same_task(classes: int, length: int):
    columns = code_book(classes, length).T
    both = np.concatenate([columns, ~columns])
    assert len(np.unique(both, axis=0)) == 2 * length
    assert not (columns.all(axis=1) | ~columns.any(axis=1)).any()


@pytest.mark.parametrize(
    ("classes", "length", "text"),
    [(10, 12, "power of two"), (10, 1, "power of two"), (33, 16, "at least 32"), (1, 16, "2")],
)
def test_code_book_refuses(classes: int, length: int, text: str):
    with pytest.raises(OptionError, match=text):
        code_book(classes, length)


@pytest.mark.parametrize("form", FORMS)
def test_output_keeps_its_name_and_shape(form: str):
    model = model_of(FORMS[form])
    assert InsertCodeHead(length=8)(model).modified
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    (y,) = run(model, x=x)
    assert model.graph.outputs[0].name == "y" and y.shape == (3, 5)
    assert not any(node.op_type in ("Softmax", "LogSoftmax") for node in model.graph)
    assert not InsertCodeHead(length=8)(model).modified


@pytest.mark.parametrize("decoding", ["soft", "hard"])
def test_scores_are_distances_to_the_words(decoding: str):
    model = model_of(MLP)
    InsertCodeHead(length=8, decoding=decoding, seed=3)(model)
    found = code_logits(model)
    assert found is not None
    logits, book = found
    model.graph.outputs.append(next(v for n in model.graph for v in n.outputs if v.name == logits))
    model.graph.outputs[1].shape = ir.Shape(["N", 8])
    x = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    scores, z = run(model, x=x)
    bits = 1 / (1 + np.exp(-z.astype(np.float64)))
    bits = np.round(bits) if decoding == "hard" else bits
    expected = -np.square(bits[:, None] - book.astype(float)).sum(axis=2)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=8 * 1e-6)  # 8 bits, float32 sigmoid


@pytest.mark.parametrize("decoding", ["soft", "hard"])
@pytest.mark.parametrize(("classes", "length"), [(5, 8), (10, 16), (12, 32)])
def test_decoding_corrects_as_many_bits_as_the_distance_allows(
    classes: int, length: int, decoding: str
):
    model = model_of(
        f"g (float[N,{length}] x) => (float[N,{classes}] y) <float[{length},{classes}] w>"
        "{ y = MatMul (x, w) }"
    )
    InsertCodeHead(length=length, decoding=decoding)(model)
    identity = ir.tensor(np.eye(length, dtype=np.float32), name="w")
    model.graph.initializers["w"].const_value = identity
    book = code_book(classes, length)
    most = (distances(book).min() - 1) // 2
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), 200)
    words = book[labels]
    for word in words:
        word[generator.permutation(length)[:most]] ^= True
    logits = np.where(words, 30, -30).astype(np.float32)  # sigmoid(30) is 1 in float32
    (scores,) = run(model, x=logits)
    assert most > 0
    np.testing.assert_array_equal(scores.argmax(axis=1), labels)
    own = scores[np.arange(len(labels)), labels]
    np.testing.assert_allclose(own, -most, atol=length * 1e-6)


def test_new_weights_are_bounded_and_named_by_the_seed():
    first, again, other = (model_of(MLP) for _ in range(3))
    for model, seed in [(first, 0), (again, 0), (other, 1)]:
        InsertCodeHead(length=16, seed=seed)(model)
    weight = first.graph.initializers["w2"].const_value.numpy()
    assert weight.shape == (8, 16) and weight.dtype == np.float32
    assert 0.9 / np.sqrt(8) < np.abs(weight).max() <= 1 / np.sqrt(8)
    assert first.graph.initializers["b2"].const_value.numpy().shape == (16,)
    assert text_of(first) == text_of(again) != text_of(other)


@pytest.mark.parametrize("options", [{"length": 16}, {"length": 8, "decoding": "hard"}])
def test_another_head_than_the_one_that_is_there_is_refused(options: dict):
    model = model_of(MLP)
    InsertCodeHead(length=8)(model)
    with pytest.raises(OptionError, match="8 code bits with soft decoding already"):
        InsertCodeHead(**options)(model)


def test_old_opsets_get_their_own_sum():
    model = model_of(FORMS["gemm"], opset=11)
    InsertCodeHead(length=8)(model)
    before = run(model, x=np.ones((2, 6), np.float32))
    Canonicalize()(model)
    np.testing.assert_array_equal(run(model, x=np.ones((2, 6), np.float32)), before)


def test_compiling_leaves_the_decoding_digital(tmp_path: Path):
    model = model_of(MLP)
    InsertCodeHead(length=16)(model)
    (expected,) = run(model, x=np.ones((2, 6), np.float32))
    save_model(model, tmp_path / "code.onnx")
    target = Target.of(load_device("ideal"), weight_bits=None)
    compiled = compile_model(
        tmp_path / "code.onnx",
        target,
        CompileOptions(store=("bias",)),
        output=tmp_path / "out.nvmc",
    )
    layers = [entry for entry in compiled.manifest.layers if entry.op != PARAMETER]
    assert [layer.arrays for layer in layers] == [["w1"], ["w2"]]
    assert {entry.name for entry in compiled.manifest.arrays} == {"w1", "b1", "w2", "b2"}
    kept = ir.load(compiled.model_path)
    assert json.loads(kept.metadata_props[CODE_KEY])["length"] == 16
    (y,) = run(kept, x=np.ones((2, 6), np.float32))
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[N,4] x) => (float[N,4] y) { y = Relu (x) }", "Relu"),
        (
            """g (float[N,4] x) => (float[N,4] y) <float[4,4] w> {
              h = MatMul (x, w)
              y = MatMul (h, w)
            }""",
            "used elsewhere",
        ),
        ("g (float[N,4] x, float[4,3] w) => (float[N,3] y) { y = MatMul (x, w) }", "no constant"),
        (
            """g (float[N,4] x) => (float[N,3] y, float[N,3] z) <float[4,3] w> {
              y = MatMul (x, w)
              z = Relu (y)
            }""",
            "read elsewhere",
        ),
    ],
)
def test_refused_heads(text: str, message: str):
    with pytest.raises(ModelError, match=message):
        InsertCodeHead()(model_of(text))


@pytest.mark.parametrize(
    "options", [{"length": 10}, {"decoding": "best"}, {"seed": -1}], ids=lambda o: next(iter(o))
)
def test_options_out_of_range(options: dict):
    with pytest.raises(OptionError):
        InsertCodeHead(**options)


@pytest.mark.parametrize(
    "text",
    ["[]", "no json", '{"initializer": "y_code_book"}', '{"initializer": "x", "logits": ""}'],
)
def test_damaged_metadata_are_told(text: str):
    model = model_of(MLP)
    assert code_logits(model) is None
    InsertCodeHead(length=8)(model)
    model.metadata_props[CODE_KEY] = text
    with pytest.raises(ModelError, match="without a code head"):
        code_logits(model)
