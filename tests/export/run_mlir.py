"""Read, verify and run model.mlir with xDSL: `python run_mlir.py FOLDER in.npz out.npz`.

Written from docs/export.md alone; nothing of nvmc is in it. The dialect `cim` is defined with
xDSL's IRDL, and its rules are checked when the module is verified. What runs the module is NumPy.
With a fourth word, MLIR itself (in IREE's compiler) reads the text too.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith, builtin, func, linalg, tensor
from xdsl.dialects.builtin import (
    ArrayAttr,
    BytesAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
)
from xdsl.ir import Dialect, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    attr_def,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    result_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

F = np.float32
NAME = StringAttr | BytesAttr
"""xDSL reads a string that holds an escape and letters beyond ASCII as bytes."""
ELEMENTS = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "i1": np.bool_}
ELEMENTS |= {f"{u}i{n}": np.dtype(f"{u}int{n}").type for u in ("", "u") for n in (8, 16, 32, 64)}


def rule(held: bool, said: str) -> None:
    if not held:
        raise VerifyException(said)


def sizes(value: Any) -> tuple[int, ...]:
    return tuple(value.type.get_shape())


@irdl_attr_definition
class Tile(ParametrizedAttribute, TypeAttribute):
    name = "cim.tile"


@irdl_op_definition
class Acquire(IRDLOperation):
    name = "cim.acquire"
    array = attr_def(NAME)
    number = attr_def(IntegerAttr)
    slice = attr_def(IntegerAttr)
    polarity = attr_def(NAME)
    rows = attr_def(IntegerAttr)
    columns = attr_def(IntegerAttr)
    off = attr_def(FloatAttr)
    tile = result_def(Tile)

    def verify_(self) -> None:
        rule(plain(self.polarity) in ("", "+", "-"), "a polarity is +, - or nothing")
        names = [use.operation.name for use in self.tile.uses]
        rule(names.count("cim.write") == 1, "a tile is written once")
        rule(names.count("cim.release") == 1, "a tile is released once")


@irdl_op_definition
class Write(IRDLOperation):
    name = "cim.write"
    tile = operand_def(Tile)
    cells = operand_def(TensorType)

    def verify_(self) -> None:
        made = self.tile.owner
        rule(isinstance(made, Acquire), "a tile is acquired before it is written")
        shape = (made.rows.value.data, made.columns.value.data)
        rule(sizes(self.cells) == shape, f"cells are {sizes(self.cells)} of a tile of {shape}")


@irdl_op_definition
class Release(IRDLOperation):
    name = "cim.release"
    tile = operand_def(Tile)


@irdl_op_definition
class Load(IRDLOperation):
    name = "cim.load"
    array = attr_def(NAME)
    values = result_def(TensorType)


@irdl_op_definition
class Encode(IRDLOperation):
    name = "cim.encode"
    x = operand_def(TensorType)
    top = attr_def(FloatAttr)
    half = attr_def(FloatAttr)
    limit = attr_def(FloatAttr)
    codes = result_def(TensorType)
    step = result_def(TensorType)
    shift = result_def(TensorType)
    negative = result_def(TensorType)

    def verify_(self) -> None:
        rule(self.codes.type == self.x.type, "codes have the type of the inputs")
        for each in (self.step, self.shift, self.negative):
            rule(sizes(each) == sizes(self.x)[:1], "an entry has one step and one shift")


def check_execute(op: Any) -> tuple[int, int]:
    """Rules that both ways to convert share; gives bit lines of a group, and lanes."""
    lanes = len(op.coefficients.get_values())
    rule(len(op.tiles) in (lanes, 2 * lanes), f"{len(op.tiles)} tiles for {lanes} lanes")
    shapes = {(t.owner.rows.value.data, t.owner.columns.value.data) for t in op.tiles}
    rule(len(shapes) == 1, "tiles of one operation have one shape")
    ((rows, columns),) = shapes
    entries, vectors, groups, height = sizes(op.codes)
    for each in (op.shift, op.negative):
        rule(sizes(each) == (entries,), "an entry has one shift")
    wanted = (entries, vectors, groups, columns // groups)
    rule(columns % groups == 0 and sizes(op.result) == wanted, f"the result is {wanted}")
    end = op.line.value.data + height
    rule(rows % groups == 0 and end <= rows // groups, "codes go on lines of the tile")
    return columns // groups, lanes


@irdl_op_definition
class Execute(IRDLOperation):
    name = "cim.execute"
    codes = operand_def(TensorType)
    shift = operand_def(TensorType)
    negative = operand_def(TensorType)
    tiles = var_operand_def(Tile)
    bits = attr_def(IntegerAttr)
    coefficients = attr_def(DenseArrayBase)
    line = attr_def(IntegerAttr)
    inverse = attr_def(FloatAttr)
    low = attr_def(FloatAttr)
    high = attr_def(FloatAttr)
    limit = attr_def(FloatAttr)
    result = result_def(TensorType)

    def verify_(self) -> None:
        check_execute(self)


@irdl_op_definition
class ExecuteTable(IRDLOperation):
    name = "cim.execute_table"
    codes = operand_def(TensorType)
    shift = operand_def(TensorType)
    negative = operand_def(TensorType)
    thresholds = operand_def(TensorType)
    levels = operand_def(TensorType)
    curve = operand_def(TensorType)
    inverses = operand_def(TensorType)
    worth = operand_def(TensorType)
    tiles = var_operand_def(Tile)
    bits = attr_def(IntegerAttr)
    coefficients = attr_def(DenseArrayBase)
    line = attr_def(IntegerAttr)
    limit = attr_def(FloatAttr)
    result = result_def(TensorType)

    def verify_(self) -> None:
        columns, lanes = check_execute(self)
        curves, width = sizes(self.thresholds)
        rule(sizes(self.levels) == (curves, width + 1), "a curve has one level more")
        for each in (self.curve, self.inverses, self.worth):
            rule(sizes(each) == (lanes, sizes(self.codes)[2], columns), "a column has one of each")


@irdl_op_definition
class Digital(IRDLOperation):
    name = "cim.digital"
    inputs = var_operand_def(TensorType)
    node = attr_def(NAME)
    op = attr_def(NAME)
    domain = attr_def(NAME)
    onnx = attr_def(DictionaryAttr, attr_name="attributes")
    order = attr_def(DenseArrayBase, attr_name="operands")
    results_ = var_result_def(TensorType)

    def verify_(self) -> None:
        given = [n for n in self.order.get_values() if n >= 0]
        rule(given == list(range(len(self.inputs))), "operands are given in their order")


CIM = Dialect(
    "cim", [Acquire, Write, Release, Load, Encode, Execute, ExecuteTable, Digital], [Tile]
)


def read(text: str) -> builtin.ModuleOp:
    """The module, verified."""
    context = Context()
    for dialect in (builtin.Builtin, func.Func, arith.Arith, linalg.Linalg, tensor.Tensor, CIM):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def plain(attribute: Any) -> Any:
    """An attribute as Python has it."""
    match attribute:
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
        case BytesAttr():
            return attribute.data.decode()
        case ArrayAttr():
            return [plain(part) for part in attribute.data]
        case DenseArrayBase():
            return list(attribute.get_values())
        case _:
            return dense(attribute)


def dense(attribute: Any) -> Any:
    kind = ELEMENTS[str(attribute.type.get_element_type())]
    values = np.array(list(attribute.get_values()), kind)
    return np.resize(values, attribute.type.get_shape())


class Machine:
    """Runs the function `main`."""

    def __init__(self, module: builtin.ModuleOp, stored: dict[str, Any]) -> None:
        (self.main,) = (op for op in module.walk() if isinstance(op, func.FuncOp))
        self.stored = stored
        self.counts: dict[str, int] = {}
        self.values: dict[Any, Any] = {}

    def __call__(self, *inputs: Any) -> list[Any]:
        self.values = dict(zip(self.main.body.block.args, inputs, strict=True))
        for op in self.main.body.block.ops:
            self.counts[op.name] = self.counts.get(op.name, 0) + 1
            if isinstance(op, func.ReturnOp):
                return [self.values[value] for value in op.operands]
            given = [self.values[value] for value in op.operands]
            found = getattr(self, "do_" + op.name.replace(".", "_"))(op, *given)
            for value, each in zip(op.results, found or [], strict=True):
                if isinstance(value.type, TensorType):
                    assert each.shape == sizes(value), (op.name, each.shape, sizes(value))
                self.values[value] = each
        raise AssertionError("main does not return")

    def do_arith_constant(self, op: Any) -> Any:
        value = op.value
        return [F(value.value.data) if isinstance(value, FloatAttr) else dense(value)]

    def do_tensor_empty(self, op: Any) -> Any:
        return [np.full(sizes(op.results[0]), 99, ELEMENTS[str(op.results[0].type.element_type)])]

    def do_tensor_reshape(self, op: Any, x: Any, shape: Any) -> Any:
        return [x.reshape(shape)]

    def do_tensor_pad(self, op: Any, x: Any) -> Any:
        low, high = op.static_low.get_values(), op.static_high.get_values()
        (ending,) = op.region.block.ops
        return [np.pad(x, list(zip(low, high, strict=True)),
                       constant_values=self.values[ending.operands[0]])]  # fmt: skip

    def place(self, op: Any) -> tuple[slice, ...]:
        parts = (op.static_offsets, op.static_sizes, op.static_strides)
        lines = zip(*(each.get_values() for each in parts), strict=True)
        return tuple(slice(at, at + (n - 1) * step + 1, step) for at, n, step in lines)

    def do_tensor_extract_slice(self, op: Any, x: Any) -> Any:
        return [x[self.place(op)]]

    def do_tensor_insert_slice(self, op: Any, x: Any, into: Any) -> Any:
        into = into.copy()
        into[self.place(op)] = x
        return [into]

    def do_linalg_fill(self, op: Any, number: Any, start: Any) -> Any:
        return [np.full_like(start, number)]

    def do_linalg_transpose(self, op: Any, x: Any, start: Any) -> Any:
        return [x.transpose(list(op.permutation.get_values()))]

    def do_linalg_pooling_nchw_max(self, op: Any, x: Any, window: Any, start: Any) -> Any:
        strides, dilations = list(op.strides.get_values()), list(op.dilations.get_values())
        found = start.copy()
        for tap in itertools.product(*map(range, window.shape)):
            part = [
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilations, start.shape[2:], strides, strict=True)
            ]
            found = np.maximum(found, x[:, :, part[0], part[1]])
        return [found]

    def do_linalg_generic(self, op: Any, *given: Any) -> Any:
        *inputs, start = given
        maps = [each.data for each in op.indexing_maps.data]
        kinds = [each.data.value for each in op.iterator_types.data]
        bounds = dict(zip((e.position for e in maps[-1].results), start.shape, strict=True))
        for each, x in zip(maps, inputs, strict=False):
            for expression, size in zip(each.results, x.shape, strict=True):
                if hasattr(expression, "position"):
                    bounds.setdefault(expression.position, size)
        outer = [n for n, kind in enumerate(kinds) if kind == "parallel"]
        inner = [n for n, kind in enumerate(kinds) if kind == "reduction"]
        assert outer == [e.position for e in maps[-1].results]
        found = start
        grids = np.indices([bounds[n] for n in outer], sparse=True)
        for turn in itertools.product(*(range(bounds[n]) for n in inner)):
            dims = [*grids, *turn]
            read = [
                np.broadcast_to(x[tuple(e.eval(dims, []) for e in each.results)], start.shape)
                for each, x in zip(maps, inputs, strict=False)
            ]
            found = self.body(op, [*read, found])
        return [found]

    def body(self, op: Any, given: list[Any]) -> Any:
        block = op.body.block
        known = {**self.values, **dict(zip(block.args, given, strict=True))}
        functions = {
            "arith.addf": np.add,
            "arith.subf": np.subtract,
            "arith.mulf": np.multiply,
            "arith.divf": np.divide,
            "arith.maximumf": np.maximum,
        }
        for each in block.ops:
            operands = [known[value] for value in each.operands]
            if isinstance(each, linalg.ops.YieldOp):
                return np.array(operands[0])
            known[each.results[0]] = functions[each.name](*operands)
        raise AssertionError("no yield")

    def do_cim_acquire(self, op: Any) -> Any:
        return [{"off": F(plain(op.off))}]

    def do_cim_load(self, op: Any) -> Any:
        return [self.stored[plain(op.array)]]

    def do_cim_write(self, op: Any, tile: Any, cells: Any) -> Any:
        gone = np.isnan(cells) if cells.dtype == F else cells < 0
        tile["cells"] = np.where(gone, F(0), cells.astype(F) + tile["off"])

    def do_cim_release(self, op: Any, tile: Any) -> Any:
        tile.clear()

    def do_cim_encode(self, op: Any, x: Any) -> Any:
        codes, step = np.zeros_like(x), np.zeros(len(x), F)
        shift, negative = np.zeros(len(x), F), np.zeros(len(x), F)
        for n, values in enumerate(x):
            reach, limit = np.abs(values).max(initial=0), F(plain(op.limit))
            reach = reach if np.isinf(limit) else limit
            signed = bool((values < 0).any())
            half = F(plain(op.half)) if signed else F(0)
            negative[n] = signed and not half
            top = half if half else F(plain(op.top))
            step[n], shift[n] = F(reach) / top, half
            if step[n]:
                exact = values.astype(np.float64) * np.float64(top) / np.float64(reach)
                codes[n] = np.clip(np.rint(exact), -top, top)
        return [codes, step, shift, negative]

    def do_cim_execute(self, op: Any, codes: Any, shift: Any, negative: Any, *tiles: Any) -> Any:
        def convert(lane: int, currents: Any) -> Any:
            steps = np.rint(currents * F(plain(op.inverse)))
            return np.clip(steps, F(plain(op.low)), F(plain(op.high)))

        return self.execute(op, codes, shift, negative, tiles, convert)

    def do_cim_execute_table(
        self, op: Any, codes: Any, shift: Any, negative: Any, *more: Any
    ) -> Any:
        thresholds, levels, curve, inverses, worth = more[:5]
        lanes = len(plain(op.coefficients))
        curve, inverses, worth = (each.reshape(lanes, -1) for each in (curve, inverses, worth))

        def convert(lane: int, currents: Any) -> Any:
            steps = currents * inverses[lane]
            at = thresholds[curve[lane]]  # columns, thresholds
            reached = (at[None] <= steps[:, :, None]).sum(axis=2)
            return levels[curve[lane][None, :], reached] * worth[lane]

        return self.execute(op, codes, shift, negative, more[5:], convert)

    def execute(
        self, op: Any, codes: Any, shift: Any, negative: Any, tiles: Any, convert: Any
    ) -> Any:
        entries, vectors, groups, height = codes.shape
        coefficients, bits, line = plain(op.coefficients), plain(op.bits), plain(op.line)
        cells = [tile["cells"] for tile in tiles]
        if len(cells) > len(coefficients):
            cells = [a - b for a, b in zip(cells[0::2], cells[1::2], strict=True)]
        rows, columns = cells[0].shape
        driven = np.zeros((entries, vectors, groups, rows // groups), F)
        driven[..., line : line + height] = codes + shift[:, None, None, None]
        driven = driven.reshape(-1, rows)
        second = np.repeat(negative != 0, vectors)[:, None]
        limit = F(plain(op.limit))
        total = np.zeros((len(driven), columns), F)
        for sign in (1, -1):
            put = np.maximum(F(sign) * driven, F(0))
            for bit in range(max(1, bits)):
                pulse = ((put.astype(np.int64) >> bit) & 1).astype(F) if bits else put
                lanes = np.zeros_like(total)
                for lane, (coefficient, each) in enumerate(zip(coefficients, cells, strict=True)):
                    found = np.clip(currents(pulse, each), -limit, limit)
                    lanes += F(coefficient) * convert(lane, found)
                done = total + F(sign * 2.0**bit) * lanes
                total = np.where(second | (sign == 1), done, total)
        return [total.reshape(entries, vectors, groups, columns // groups)]

    def do_cim_digital(self, op: Any, *given: Any) -> Any:
        import onnx
        import onnxruntime

        runtime: Any = onnxruntime
        names = [f"x{n}" if n >= 0 else "" for n in plain(op.order)]
        outputs = [f"y{n}" for n in range(len(op.results))]
        attributes = {key: plain(value) for key, value in op.onnx.data.items()}
        node = onnx.helper.make_node(
            plain(op.op), names, outputs, domain=plain(op.domain), **attributes
        )
        kinds = [onnx.helper.np_dtype_to_tensor_dtype(x.dtype) for x in given]
        ends = [
            onnx.helper.make_tensor_value_info(f"x{n}", kind, x.shape)
            for n, (kind, x) in enumerate(zip(kinds, given, strict=True))
        ]
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = onnx.helper.make_graph([node], "one", ends, results)
        opset = [onnx.helper.make_opsetid("", 21)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
        model = onnx.shape_inference.infer_shapes(model)
        session = runtime.InferenceSession(model.SerializeToString())
        return session.run(None, {f"x{n}": x for n, x in enumerate(given)})


def currents(pulse: Any, cells: Any) -> Any:
    """Fused multiply-adds from the first word line on."""
    if np.all(pulse == np.rint(pulse)) and np.all(cells == np.rint(cells)):
        return (pulse.astype(np.float64) @ cells.astype(np.float64)).astype(F)  # exact
    total = np.zeros((len(pulse), cells.shape[1]), F)
    for line in range(len(cells)):
        # 64 bits of mantissa: exact but for huge differences in size
        product = pulse[:, line, None].astype(np.longdouble) * cells[line]
        total = (product + total).astype(F)
    return total


def main(folder: Path, given: str, found: str, *more: str) -> None:
    text = (folder / "model.mlir").read_text(encoding="utf-8")
    with np.load(folder / "weights.npz") as stored, np.load(given) as inputs:
        machine = Machine(read(text), dict(stored))
        outputs = machine(*inputs.values())
    np.savez(found, *outputs)
    print(machine.counts)
    if more:
        from iree.compiler import ir

        with ir.Context() as context:
            context.allow_unregistered_dialects = True
            assert ir.Module.parse(text).operation.verify()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
