"""TRICE: right-censored Gaussian noise whose strength is searched while training.

Yan, Qin, Wen, Hu and Shi, *Improving Realistic Worst-Case Performance of NVCiM DNN Accelerators
through Training with Right-Censored Gaussian Noise*, ICCAD 2023 (arXiv:2307.15853), Alg. 3.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from nvmc.errors import OptionError
from nvmc.hardware.devices.laws import Strict
from nvmc.training.gaussians import Law, RightCensored
from nvmc.training.kept import Misfit
from nvmc.training.methods.injected import Injected, Strength, device_sigma
from nvmc.training.quartile import QuartileSearch
from nvmc.training.replica import Replica
from nvmc.training.run import Run
from nvmc.training.task import Task

__all__ = ["Compared", "Trice"]

SEARCH, JUDGED, COMPARED = "trice search", "trice judged", "trice comparisons"
MIDDLE = 1


class Compared(Strict, frozen=True):
    """What a checkpoint keeps of `Trice`: three KPPs per comparison, from which all follows."""

    kpps: tuple[tuple[float, float, float], ...]


class Trice(Injected):
    """Three networks at the quartiles of [start, end]; after each epoch the best is cloned.

    Alg. 3 to the letter. Where it leaves a choice:

    - equal KPPs: the middle network wins before an outer one, the left before the right, as the
      order of its three `if`s has it;
    - the merge: at end - start < tolerance (line 4), not at "<= 1e-4" (Sec. III-E);
    - the merged network trains at `start` (line 6), the others are not touched any more;
    - QuantileEval is `Run.kpp`: the product's own chips, on held-out images, the same chips for all
      three networks and after every epoch, so that networks are compared and not luck;
    - w_1 = w_2 takes over the optimiser's state (and the running statistics) with the weights,
      of which the paper does not speak;
    - the three networks see the same batches, each under noise of its own.

    Alg. 3 ends with the last epoch; what is kept here is `Settings.keep`'s choice.

    Attributes:
        start: Lower end of the search over sigma_t, in the unit of the device's sigma.
        end: Upper end; None for twice the device's sigma, as in the paper.
        warm: Epochs before the first comparison.
        tolerance: Width of the interval below which the three networks become one.
        th: Where the noise is cut, in units of sigma_t.
    """

    kind: ClassVar[str] = "trice"
    title: ClassVar[str] = "right-censored noise, its strength searched in training (TRICE, Alg. 3)"
    replicas: ClassVar[int] = 3
    keeps: ClassVar[type[Strict]] = Compared

    start: Strength = 0.0
    end: Strength | None = None
    warm: Annotated[int, Field(ge=0)] = 5
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4

    def check(self, task: Task) -> None:
        """See `Method.check`.

        Raises:
            OptionError: The device has no sigma, the ends are in the wrong order, or no epoch is
                left to search in.
        """
        end = self._end(task)
        if self.start > end:
            raise OptionError(
                f"method {self.kind!r} would search sigma_t from {self.start:g} to {end:g}; give a "
                "start of at most the end"
            )
        if task.settings.epochs <= self.warm and end - self.start >= self.tolerance:
            raise OptionError(
                f"method {self.kind!r} warms up for {self.warm} epochs and then searches, but the "
                f"run has {task.settings.epochs}; give more epochs, or a smaller warm"
            )

    def begin(self, run: Run) -> None:
        """Start the search."""
        super().begin(run)
        search = QuartileSearch(self.start, self._end(run.task), self.tolerance)
        self._remember(run, search, 0 if search.over else MIDDLE)
        run.memory[COMPARED] = []

    def noise(self) -> Law:
        """See `Injected.noise`."""
        return RightCensored(self.th)

    def strength(self, run: Run, replica: Replica) -> float:
        """The replica's quartile, or `start` once there is only one network."""
        search = _search(run)
        return search.start if search.over else search.points[run.replicas.index(replica)]

    def epoch(self, run: Run, epoch: int) -> float:
        """One round of the loop of Alg. 3; the loss of the network that won."""
        if _search(run).over:
            run.memory[JUDGED] = 0
            return self.pass_over(run, run.replicas[0], epoch)
        losses = [self.pass_over(run, replica, epoch) for replica in run.replicas]
        if epoch >= self.warm:
            self._compare(run, epoch)
        return losses[_judged(run)]

    def evaluated(self, run: Run) -> Replica:
        """The winner; the middle network while none has won yet."""
        return run.replicas[_judged(run)]

    def summary(self, run: Run) -> dict[str, Any]:
        """Where the search ended and every comparison that took it there."""
        search = _search(run)
        return {
            "sigma_t": search.start if search.over else search.points[MIDDLE],
            "start": search.start,
            "end": search.end,
            "merged": search.over,
            "comparisons": list(run.memory[COMPARED]),
        }

    def state(self, run: Run) -> Compared:
        """The KPPs of all comparisons."""
        return Compared(kpps=tuple(tuple(row["kpp"]) for row in run.memory[COMPARED]))

    def restore(self, run: Run, state: Compared, done: int) -> None:
        """Make the comparisons again; see `Method.restore`."""
        due = max(0, done - self.warm)
        for number, kpps in enumerate(state.kpps):
            if number == due or _search(run).over:
                raise Misfit(f"it has {len(state.kpps)} comparisons; expected {number}")
            self._narrow(run, self.warm + number, list(kpps))
        if len(state.kpps) < due:
            if not _search(run).over:
                raise Misfit(f"it has {len(state.kpps)} comparisons; expected {due}")
            run.memory[JUDGED] = 0  # it has trained on as one network

    def steps_taken(self, run: Run, done: int) -> tuple[int, ...]:
        """The first network's, and those that the others had when all became one."""
        together, compared = done, len(run.memory[COMPARED])
        if _search(run).over:
            together = self.warm + compared if compared else 0
        all_of = run.steps_of_epoch
        return (done * all_of, *(together * all_of,) * (len(run.replicas) - 1))

    def _compare(self, run: Run, epoch: int) -> None:
        """Lines 16 to 27: judge, narrow, reassign."""
        winner = self._narrow(run, epoch, [run.kpp(replica) for replica in run.replicas])
        for position, replica in enumerate(run.replicas):
            if position != winner:
                replica.copy_from(run.replicas[winner])

    def _narrow(self, run: Run, epoch: int, kpps: list[float]) -> int:
        """Note a comparison and its consequences; the winner."""
        search = _search(run)
        narrower, winner = search.narrowed(kpps)
        run.memory[COMPARED].append(
            {"epoch": epoch + 1, "sigma_t": list(search.points), "kpp": kpps, "winner": winner}
        )
        self._remember(run, narrower, winner)
        return winner

    def _remember(self, run: Run, search: QuartileSearch, judged: int) -> None:
        run.memory[SEARCH], run.memory[JUDGED] = search, judged

    def _end(self, task: Task) -> float:
        sigma = device_sigma(task, self.kind)
        return 2 * sigma if self.end is None else self.end


def _search(run: Run) -> QuartileSearch:
    return run.memory[SEARCH]


def _judged(run: Run) -> int:
    return run.memory[JUDGED]
