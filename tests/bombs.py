"""Small files that ask for much: one row of `BOMBS` each, with the command that meets it.

A new one is a row, and a function where the network's text does not say it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import nvmc

__all__ = ["BOMBS", "Bomb"]

COMPILE = "compile m.onnx --device rram4 -o m.nvmc"
WITH_DATA = f"{COMPILE} --data d.npz --activation-bits 4"
MATRIX = "float[2, 2] w = {1, 2, 3, 4}"
TWO_G, BILLION = 2**31 - 1, 10**9


@dataclass(frozen=True)
class Bomb:
    """A file that asks for much, and the one line that is said of it.

    Attributes:
        says: Pattern of the line.
        text: A network's graph in ONNX's text syntax, written to m.onnx; or what writes the files.
        command: What meets it.
        opset: Of the network.
    """

    says: str
    text: str | Callable[[Path], None]
    command: str = COMPILE
    opset: int = 21

    def write(self, folder: Path) -> None:
        """Write its files into a folder."""
        if callable(self.text):
            self.text(folder)
        else:
            onnx.save(parsed(self.text, self.opset), folder / "m.onnx")


def parsed(text: str, opset: int = 21) -> onnx.ModelProto:
    """A network of the text of a graph and of functions behind it."""
    own = '"f" : 1, "com.microsoft" : 1'
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, {own}]>{text}')


def network(body: str, inputs: str = "float[N, 2] x", stored: str = "") -> str:
    """A graph that gives y."""
    stored = f"<{stored}>" if stored else ""
    return f"g ({inputs}) => (float y) {stored} {{ {body} }}"


def weight(body: str, stored: str) -> str:
    """A graph whose weight w is computed by `body`."""
    return network(f"{body} y = MatMul (x, w)", stored=stored)


def windowed(attributes: str, op: str = "Conv") -> str:
    """A convolution of images with such attributes."""
    stored = "float[2, 2, 1, 1] w = {1, 1, 1, 1}"
    return network(f"y = {op} <{attributes}> (x, w)", "float[N, 2, 4, 4] x", stored)


def looped(trips: int, width: int) -> str:
    """A Loop of so many trips that joins what they give."""
    return network(
        f"m = Constant <value = int64 {{{trips}}}> () t = Constant <value = bool {{1}}> () "
        f"f, s = Loop (m, t, x) <body = b (int64 i, bool k, float[N, 2] v) => "
        f"(bool l, float[N, 2] u, float[{width}] q) {{ l = Identity (k) u = Relu (v) "
        f"q = Neg (n) }}> y = MatMul (f, w)",
        stored=f"float[{width}] n = {{{', '.join(['1'] * width)}}}, {MATRIX}",
    )


def many_constants(folder: Path) -> None:
    """Forty weights of 100 MB, each of which would do alone."""
    body = "".join(
        f"w{i} = ConstantOfShape <value = float[1] {{{i}}}> (s) y{i + 1} = MatMul (y{i}, w{i}) "
        for i in range(40)
    )
    body = body.replace("(y0,", "(x,") + "y = Identity (y40)"
    text = network(body, "float[N, 5000] x", "int64[2] s = {5000, 5000}")
    onnx.save(parsed(text), folder / "m.onnx")


def doubling(body: str, levels: int = 40) -> str:
    """Functions that each call the next twice, down to one with that body."""
    functions = [
        f'<domain: "f", opset_import: ["" : 21, "f" : 1]> d{i} (a) => (c) '
        f"{{ b = f.d{i + 1} (a) c = f.d{i + 1} (b) }}"
        for i in range(levels)
    ]
    last = f'<domain: "f", opset_import: ["" : 21]> d{levels} (a) => (c) {{ {body} }}'
    return network("y = f.d0 (x)") + "".join([*functions, last])


def calling_itself(folder: Path) -> None:
    """Two functions that call one another."""
    text = network("y = f.a (x)")
    for name, other in ("ab", "ba"):
        text += f'<domain: "f", opset_import: ["" : 21, "f" : 1]> {name} (u) => (v) '
        text += f"{{ v = f.{other} (u) }}"
    onnx.save(parsed(text), folder / "m.onnx")


def stored(dims: list[int], **content: object) -> Callable[[Path], None]:
    """A weight whose sizes say one thing and whose content another."""

    def write(folder: Path) -> None:
        proto = parsed(
            network("y = MatMul (x, w)", "float[N, 2] x", "float[2, 2] w = {1, 1, 1, 1}")
        )
        tensor = proto.graph.initializer[0]
        tensor.Clear()
        tensor.name, tensor.data_type = "w", TensorProto.FLOAT
        tensor.dims.extend(dims)
        for name, value in content.items():
            if name == "external":
                tensor.data_location = TensorProto.EXTERNAL
                (folder / "w.bin").write_bytes(bytes(16))
                for key, text in {"location": "w.bin", **value}.items():
                    tensor.external_data.add(key=key, value=text)
            elif name == "raw_data":
                tensor.raw_data = value
            else:
                getattr(tensor, name).extend(value)
        (folder / "m.onnx").write_bytes(proto.SerializeToString())

    return write


def sparse(where: str) -> Callable[[Path], None]:
    """A sparse constant whose dense shape is large: in the graph, or in a branch."""

    def write(folder: Path) -> None:
        values = numpy_helper.from_array(np.ones(1, np.float32), "w")
        places = numpy_helper.from_array(np.zeros(1, np.int64), "i")
        tensor = helper.make_sparse_tensor(values, places, [2, BILLION])
        proto = parsed(network("y = MatMul (x, w)", "float[N, 2] x"))
        if where == "graph":
            proto.graph.sparse_initializer.append(tensor)
        else:
            graph = helper.make_graph(
                [helper.make_node("Constant", [], ["r"], sparse_value=tensor)],
                "branch",
                [],
                [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
            )
            node = helper.make_node("If", ["c"], ["w"], then_branch=graph, else_branch=graph)
            proto.graph.node.insert(0, node)
            proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
        (folder / "m.onnx").write_bytes(proto.SerializeToString())

    return write


def hollow(folder: Path) -> None:
    """A file of a terabyte without a byte on disk."""
    with (folder / "m.onnx").open("wb") as file:
        file.write(b"\x08\x0a\x3a\xff\xff\xff\xff\xff\x1f")
        file.truncate(10**12)


def good(folder: Path) -> None:
    """A network without fault."""
    text = network("y = MatMul (x, w)", "float[N, 2] x", "float[2, 2] w = {1, 2, 3, 4}")
    onnx.save(parsed(text), folder / "m.onnx")


def free_length(folder: Path) -> None:
    """A network with a free length."""
    text = network(
        "z = ReduceSum <keepdims = 0> (x, a) y = MatMul (z, w)",
        "float[N, T, 2] x",
        "int64[1] a = {1}, float[2, 2] w = {1, 2, 3, 4}",
    )
    onnx.save(parsed(text), folder / "m.onnx")


def compiled(folder: Path) -> None:
    """A compiled network without fault."""
    good(folder)
    nvmc.compile_model(folder / "m.onnx", "rram4", output=folder / "m.nvmc")


def npz(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """A good network beside d.npz."""

    def both(folder: Path) -> None:
        good(folder)
        write(folder / "d.npz")

    return both


def stretched(path: Path) -> None:
    """An array whose header says more than there is."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({BILLION * 4}, 2), }}"
    padded = header.ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded)


def zipped(path: Path) -> None:
    """A hundred megabytes of zeros in a hundred kilobytes."""
    np.savez_compressed(path, x=np.zeros((25 << 20, 1), np.float32))


MUCH = r"would take [\d.,]+ [MGTPE]B of memory, .*--max-memory"
LENGTH = f"int64[1] s = {{{BILLION}}}"
ONES = "float[2, 1] o = {1, 1}"
CUT = "int64[1] c = {0}, int64[1] d = {2}"
ROW = ", ".join(["1"] * 4000)

BOMBS = {
    # Constants that are computed.
    "ConstantOfShape": Bomb(
        MUCH, weight("w = ConstantOfShape (s)", "int64[2] s = {2, 1000000000}")
    ),
    "ConstantOfShape that overflows": Bomb(
        "expected numbers up to 2,147,483,647",
        weight("w = ConstantOfShape (s)", f"int64[3] s = {{2, {2**40}, {2**40}}}"),
    ),
    "ConstantOfShape whose product overflows": Bomb(
        MUCH, weight("w = ConstantOfShape (s)", f"int64[3] s = {{2, {2**31 - 1}, {2**31 - 1}}}")
    ),
    "Range": Bomb(
        MUCH,
        weight(
            "r = Range (a, b, c) w = Reshape (r, d)",
            f"float a = {{0}}, float b = {{{BILLION}}}, float c = {{1}}, int64[2] d = {{2, -1}}",
        ),
    ),
    "Expand": Bomb(MUCH, weight("w = Expand (o, s)", f"{ONES}, {LENGTH}")),
    "Tile": Bomb(MUCH, weight("w = Tile (o, s)", f"{ONES}, int64[2] s = {{1, {BILLION}}}")),
    "Pad": Bomb(MUCH, weight("w = Pad (o, s)", f"{ONES}, int64[4] s = {{0, 0, 0, {BILLION}}}")),
    "Resize": Bomb(MUCH, weight("w = Resize (o, , s)", f"{ONES}, float[2] s = {{1, {BILLION}}}")),
    "Upsample": Bomb(
        MUCH, weight("w = Upsample (o, s)", f"{ONES}, float[2] s = {{1, {BILLION}}}"), opset=9
    ),
    "OneHot": Bomb(
        MUCH,
        weight(
            "w = OneHot (i, s, v)",
            f"int64[2] i = {{0, 1}}, int64 s = {{{BILLION}}}, float[2] v = {{0, 1}}",
        ),
    ),
    "EyeLike": Bomb(
        MUCH,
        weight("z = ConstantOfShape (s) w = EyeLike (z)", "int64[2] s = {2, 300000000}"),
    ),
    "Concat": Bomb(
        MUCH,
        weight(
            "v0 = ConstantOfShape (s) "
            + " ".join(
                f"v{i + 1} = Concat <axis = 1> ({', '.join([f'v{i}'] * 10)})" for i in range(5)
            )
            + " w = Identity (v5)",
            "int64[2] s = {2, 10000}",
        ),
    ),
    "Gather": Bomb(
        MUCH,
        weight(
            "t = ConstantOfShape (s) f = ConstantOfShape (s) i = Cast <to = 7> (f) "
            "g = Gather (t, i) w = ReduceSum <keepdims = 0> (g, a)",
            "int64[2] s = {2, 30000}, int64[2] a = {2, 3}",
        ),
    ),
    "MatMul": Bomb(
        MUCH,
        weight(
            "a = ConstantOfShape (s) b = ConstantOfShape (t) m = MatMul (a, b) w = Slice (m, c, d)",
            f"int64[2] s = {{50000, 1}}, int64[2] t = {{1, 50000}}, {CUT}",
        ),
    ),
    "Einsum": Bomb(
        MUCH,
        weight(
            'a = ConstantOfShape (s) m = Einsum <equation = "i,j->ij"> (a, a) w = Slice (m, c, d)',
            f"int64[1] s = {{50000}}, {CUT}",
        ),
    ),
    "many constants": Bomb(MUCH, many_constants),
    # Nodes.
    "functions that double": Bomb(MUCH, doubling("c = Relu (a)", 60)),
    "functions that double their weights": Bomb(
        MUCH,
        doubling(
            f"k = Constant <value = float[2, 2000] {{{ROW}}}> () "
            f"l = Constant <value = float[2000, 2] {{{ROW}}}> () "
            "b = MatMul (a, k) c = MatMul (b, l)",
            17,
        ),
    ),
    "functions that call one another": Bomb("recursive", calling_itself),
    # Sizes that are stated.
    "weight without its data": Bomb("'w'", stored([2, BILLION], raw_data=bytes(16))),
    "weight without any data": Bomb("'w'", stored([2, BILLION])),
    "weight of few numbers": Bomb("'w'", stored([2, BILLION], float_data=[1.0])),
    "weight of a negative size": Bomb("w", stored([2, -2], raw_data=bytes(16))),
    "weight of an overflowing size": Bomb("'w'", stored([2**40, 2**40], raw_data=bytes(16))),
    "external data beyond their file": Bomb("'w'", stored([2, BILLION], external={})),
    "external data far away": Bomb("'w'", stored([2, 2], external={"offset": str(2**62)})),
    "external data before their file": Bomb("damaged", stored([2, 2], external={"offset": "-4"})),
    "sparse weight": Bomb("sparse", sparse("graph")),
    "sparse weight in a branch": Bomb("sparse", sparse("branch")),
    "hollow file": Bomb(MUCH, hollow),
    # Activations.
    "expanded image": Bomb(
        MUCH,
        network(
            "e = Expand (x, s) m = ReduceSum (e, a) y = MatMul (m, w)",
            "float[N, 1] x",
            f"{LENGTH}, int64[1] a = {{1}}, float[1, 2] w = {{1, 2}}",
        ),
    ),
    "bound length": Bomb(MUCH, free_length, f"{COMPILE} --shape x=Nx{BILLION}x2"),
    "bound input": Bomb(
        MUCH,
        network(
            "z = ReduceSum (v) y = MatMul (x, w)",
            "float[N, 2] x, float[T] v",
            "float[2, 2] w = {1, 2, 3, 4}",
        ),
        f"{COMPILE} --shape v={BILLION * 4} --input v=ones",
    ),
    "seeded inputs": Bomb(
        MUCH, compiled, f"simulate m.nvmc --runs 2 --no-store --limit {BILLION * 1000}"
    ),
    # Arrays and data.
    "tiles of one cell": Bomb(
        MUCH,
        weight("w = ConstantOfShape (s)", "int64[2] s = {2, 3000000}"),
        f"{COMPILE} --tile 1x1",
    ),
    "array longer than its file": Bomb("d.npz", npz(stretched), WITH_DATA),
    "zipped array": Bomb(MUCH, npz(zipped), f"{WITH_DATA} --max-memory 50M"),
    # Attributes.
    "group": Bomb("group = 2147483647", windowed(f"group = {TWO_G}")),
    "pads of Conv": Bomb(MUCH, windowed(f"pads = [{BILLION}, 0, 0, 0]")),
    "strides of ConvTranspose": Bomb(
        MUCH, windowed(f"strides = [{BILLION}, {BILLION}]", "ConvTranspose")
    ),
    "kernel of Conv": Bomb("kernel_shape", windowed(f"kernel_shape = [{BILLION}, {BILLION}]")),
    "RandomNormal": Bomb(
        MUCH,
        network(
            f"r = RandomNormal <shape = [{BILLION}, 2]> () s = ReduceSum <keepdims = 0> (r) "
            "z = Add (x, s) y = MatMul (z, w)",
            stored=MATRIX,
        ),
    ),
    "hidden size": Bomb(
        MUCH,
        network(
            f"s, y = RNN <hidden_size = {BILLION}> (x, v, v)",
            "float[S, N, 2] x",
            "float[1, 2, 2] v = {1, 2, 3, 4}",
        ),
    ),
    "Loop": Bomb("runs 1,000,000,000,000,000 times", looped(10**15, 1)),
    "outputs of a Loop": Bomb(MUCH, looped(10**7, 1000)),
}
