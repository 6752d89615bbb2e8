"""The node test cases that ship with onnx, of some operators."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from typing import Any

from onnx.backend.test.case import node

__all__ = ["cases_of"]


def cases_of(operators: Iterable[str]) -> list[Any]:
    """The cases of one node each, of operators of the standard domain.

    `collect_testcases` imports the modules of all operators, which compute their cases then: ten
    seconds, most of it for pooling.
    """
    chosen = set(operators)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operator in sorted(chosen):
            importlib.import_module(f"{node.__name__}.{operator.lower()}")
    cases: list[Any] = node._NodeTestCases  # pyright: ignore[reportPrivateUsage]
    nodes = [(case, list(case.model.graph.node)) for case in cases]
    return [
        case
        for case, (first, *others) in nodes
        if not others and first.op_type in chosen and not first.domain
    ]
