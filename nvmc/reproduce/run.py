"""Run a plan: cells in several processes, each kept when it is found."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import groupby

from nvmc.errors import OptionError
from nvmc.reproduce.origin import check_origin
from nvmc.reproduce.plan import Cell, Plan

__all__ = ["run_plan"]


def run_plan(plan: Plan, jobs: int = 1, done: Callable[[Cell], None] = lambda cell: None) -> None:
    """Find every cell that is not in its file yet.

    The same numbers come out whatever `jobs` is, and of a run that was ended and goes on.

    Args:
        plan: What to do.
        jobs: Processes; cells that share a training are found by one.
        done: Called in this process for each cell that was found.

    Raises:
        NvmcError: Of the first cell that fails; what others found is kept.
        OptionError: jobs is below 1, or results that are there have another origin
            (`check_origin`).
    """
    if jobs < 1:
        raise OptionError(f"jobs is {jobs}, expected at least 1")
    check_origin(plan)
    groups = list(_missing(plan))
    if jobs == 1 or len(groups) < 2:
        for group in groups:
            for cell in _run(plan, group):
                done(cell)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(groups)), context) as pool:
        waiting = {pool.submit(_run_all, plan, group): group for group in groups}
        try:
            for future in as_completed(waiting):
                future.result()
                for cell in waiting[future]:
                    done(cell)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _missing(plan: Plan) -> Iterator[list[Cell]]:
    """Cells without a file, those of one training together."""
    for _, cells in groupby(
        sorted(plan.cells, key=lambda cell: cell.seed), key=lambda cell: cell.training
    ):
        group = [cell for cell in cells if not cell.found.exists()]
        if group:
            yield group


def _run_all(plan: Plan, cells: list[Cell]) -> None:
    for _ in _run(plan, cells):
        pass


def _run(plan: Plan, cells: list[Cell]) -> Iterator[Cell]:
    """Find cells, with one thread of torch: another number would round otherwise."""
    from nvmc.models.initialised import one_thread
    from nvmc.reproduce.cells import run_cell

    with one_thread():
        for cell in cells:
            run_cell(plan, cell)
            yield cell
