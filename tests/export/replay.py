"""An interpreter of `schedule.json`, written from docs/export.md alone; nothing of nvmc is in it.

`Replay(folder)(inputs)` gives the network's outputs by name. Numbers are float32, and every
operation rounds once.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

F = np.float32
ORT: Any = onnxruntime


class Replay:
    """One exported schedule, its tiles programmed."""

    def __init__(self, folder: Path) -> None:
        self.program = json.loads((folder / "schedule.json").read_text())
        assert self.program["format"] == "nvmc.export.schedule/1"
        with np.load(folder / self.program["cells"]) as stored:
            self.stored = dict(stored)
        self.graph = onnx.load(folder / self.program["graph"])
        self.nodes = {node.name: node for node in self.graph.graph.node}
        self.initializers = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in self.graph.graph.initializer
        }
        self.sessions: dict[str, Any] = {}
        self.places: dict[int, Any] = {}
        self.cells: dict[int, Any] = {}
        self.counts: dict[str, int] = {}
        self.buffers: dict[str, Any] = {}
        self.shapes = {each["name"]: each.get("shape") for each in self.program["buffers"]}
        self.driven: dict[int, Any] = {}
        self.run(self.program["setup"], {})

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        for each in self.program["buffers"]:
            name, shape = each["name"], each.get("shape")
            match each["holds"]:
                case "zeros":
                    self.buffers[name] = np.zeros(int(np.prod(shape)), each["type"])
                case "input":
                    assert inputs[name].shape == tuple(shape)
                    self.buffers[name] = inputs[name].ravel().copy()
                case "graph":
                    self.buffers[name] = self.initializers[name].ravel()
                case "tiles":
                    self.buffers[name] = self.stored[name].ravel()
                case _:
                    size = 0 if shape is None else int(np.prod(shape))
                    self.buffers[name] = np.zeros(size, each["type"])
        self.run(self.program["program"], {})
        return {n: self.buffers[n].reshape(self.shapes[n]) for n in self.program["outputs"]}

    def run(self, instructions: list[Any], loops: dict[str, int]) -> None:
        for one in instructions:
            self.counts[one["op"]] = self.counts.get(one["op"], 0) + 1
            getattr(self, "do_" + one["op"])(one, loops)

    def at(self, view: Any, loops: dict[str, int]) -> Any:
        """Where the elements of a view are."""
        if id(view) not in self.places:
            places = [
                view.get("offset", 0)
                + sum(i * s for i, s in zip(index, view["strides"], strict=True))
                for index in itertools.product(*(range(n) for n in view["shape"]))
            ]
            self.places[id(view)] = np.array(places).reshape(view["shape"])
        more = sum(loops[name] * n for name, n in (view.get("loops") or {}).items())
        return self.places[id(view)] + more

    def get(self, view: Any, loops: dict[str, int]) -> Any:
        return self.buffers[view["buffer"]][self.at(view, loops)]

    def put(self, view: Any, loops: dict[str, int], values: Any) -> None:
        self.buffers[view["buffer"]][self.at(view, loops)] = values

    def do_repeat(self, one: Any, loops: dict[str, int]) -> None:
        for index in range(one["count"]):
            self.run(one["body"], {**loops, one["index"]: index})

    def do_when(self, one: Any, loops: dict[str, int]) -> None:
        if self.get(one["flag"], loops) != 0:
            self.run(one["body"], loops)

    def do_write(self, one: Any, loops: dict[str, int]) -> None:
        tile = self.program["tiles"][one["tile"]]
        levels = self.stored[tile.get("levels", tile["codes"])]
        assert list(levels.shape) == tile["shape"]
        gone = np.isnan(levels) if levels.dtype.kind == "f" else levels < 0
        self.cells[one["tile"]] = np.where(gone, F(0), levels.astype(F) + F(tile["off"]))

    def do_encode(self, one: Any, loops: dict[str, int]) -> None:
        x = self.get(one["from"], loops)
        codes = np.zeros_like(x)
        for entry, values in enumerate(x):
            signed = bool((values < 0).any())
            half = one.get("half") if signed else None
            top = F(one["top"] if half is None else half)
            limit = one.get("limit")
            reach = F(np.abs(values).max(initial=0) if limit is None else limit)
            step = reach / top
            self.buffers[one["step"]][entry] = step
            self.buffers[one["signed"]][entry] = signed
            if one.get("shift"):
                self.buffers[one["shift"]][entry] = half or 0
            if step != 0:  # the quotient in float64 is near enough to the exact one
                exact = values.astype(np.float64) * np.float64(top) / np.float64(reach)
                codes[entry] = np.clip(np.rint(exact), -top, top)
        self.put(one["to"], loops, codes)

    def do_move(self, one: Any, loops: dict[str, int]) -> None:
        self.put(one["to"], loops, self.get(one["from"], loops))

    def do_clear(self, one: Any, loops: dict[str, int]) -> None:
        self.put(one["to"], loops, 0)

    def do_drive(self, one: Any, loops: dict[str, int]) -> None:
        codes = self.buffers[one["from"]]
        if one.get("shift"):
            codes = codes + self.get(one["shift"], loops)
        codes = np.maximum(codes if one["phase"] == "+" else -codes, F(0))
        if one.get("bit"):
            codes = ((codes.astype(np.int64) >> loops[one["bit"]]) & 1).astype(F)
        for tile in one["tiles"]:
            lines = np.zeros(self.program["tiles"][tile]["shape"][0], F)
            for line, count, at in one["rows"]:
                lines[line : line + count] = codes[at : at + count]
            self.driven[tile] = lines

    def do_convert(self, one: Any, loops: dict[str, int]) -> None:
        lines, cells = self.driven[one["tile"]], self.cells[one["tile"]]
        if one.get("minus") is not None:
            assert np.array_equal(lines, self.driven[one["minus"]])
            cells = cells - self.cells[one["minus"]]
        currents = chain(lines, cells)
        to = self.buffers[one["to"]]
        for line, count, at in one["columns"]:
            part = currents[line : line + count]
            to[at : at + count] = self.converted(one["converter"], part, slice(at, at + count))

    def converted(self, number: int, currents: Any, columns: slice) -> Any:
        row = self.program["converters"][number]
        if row.get("limit") is not None:
            currents = np.clip(currents, F(-row["limit"]), F(row["limit"]))
        if row.get("inverse") is not None:
            return np.clip(np.rint(currents * F(row["inverse"])), F(row["low"]), F(row["high"]))
        steps = currents * self.stored[row["inverses"]][columns]
        curves = self.stored[row["curve"]][columns]
        found = np.zeros_like(currents)
        for n, (step, curve) in enumerate(zip(steps, curves, strict=True)):
            reached = int((self.stored[row["thresholds"]][curve] <= step).sum())
            found[n] = self.stored[row["levels"]][curve][reached]
        return found if row.get("worth") is None else found * self.stored[row["worth"]][columns]

    def do_add(self, one: Any, loops: dict[str, int]) -> None:
        factor = F(one["factor"] * 2.0 ** (loops[one["bit"]] if one.get("bit") else 0))
        more = self.get(one["from"], loops) * factor
        if one.get("by"):
            more = more * self.get(one["by"], loops)
        self.put(one["to"], loops, more if one.get("set") else self.get(one["to"], loops) + more)

    def do_sum(self, one: Any, loops: dict[str, int]) -> None:
        total = F(0)
        for value in self.get(one["from"], loops):
            total += value
        self.put(one["to"], loops, total)

    def do_scale(self, one: Any, loops: dict[str, int]) -> None:
        unit = self.get(one["unit"], loops) * F(one["factor"])
        self.put(
            one["to"], loops, self.get(one["from"], loops) * (self.get(one["step"], loops) * unit)
        )

    def do_digital(self, one: Any, loops: dict[str, int]) -> None:
        node = self.nodes[one["node"]]
        values = {
            name: self.buffers[name].reshape(self.shapes[name]) for name in one["from"] if name
        }
        if one["node"] not in self.sessions:
            self.sessions[one["node"]] = self.session(node, values)
        names = [name for name in one["to"] if name]
        for name, found in zip(names, self.sessions[one["node"]].run(names, values), strict=True):
            self.buffers[name], self.shapes[name] = found.ravel(), list(found.shape)

    def session(self, node: Any, values: dict[str, Any]) -> Any:
        """The node alone, in onnxruntime."""
        kinds = {n: onnx.helper.np_dtype_to_tensor_dtype(v.dtype) for n, v in values.items()}
        ends = [onnx.helper.make_tensor_value_info(n, kinds[n], v.shape) for n, v in values.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "one", ends, outputs)
        opsets = [entry for entry in self.graph.opset_import if entry.domain != "nvmc"]
        model = onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=self.graph.ir_version
        )
        options = ORT.SessionOptions()
        options.intra_op_num_threads = 1
        return ORT.InferenceSession(
            onnx.shape_inference.infer_shapes(model).SerializeToString(), options,
            providers=["CPUExecutionProvider"],
        )  # fmt: skip


def chain(lines: Any, cells: Any) -> Any:
    """Fused multiply-adds from the first word line on; those at 0 add nothing."""
    if np.all(lines == np.rint(lines)) and np.all(cells == np.rint(cells)):
        return (lines.astype(np.float64) @ cells.astype(np.float64)).astype(F)  # exact
    total = np.zeros(cells.shape[1], F)
    for line in np.flatnonzero(lines):
        # 64 bits of mantissa: the product and the sum are exact but for huge differences in size
        product = np.longdouble(lines[line]) * cells[line].astype(np.longdouble)
        total = (product + total).astype(F)
    return total
