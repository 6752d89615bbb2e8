"""The pipeline behind `nvmc report`: everything that a report shows, from compiled networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from nvmc.arguments import as_called, checked
from nvmc.compiled.artifact import Compiled
from nvmc.cost.estimate import estimate_cost
from nvmc.cost.hardware import Hardware, load_hardware
from nvmc.data import Data, load_data
from nvmc.data.shifts import shifts_for
from nvmc.errors import DataError, ModelError, OptionError
from nvmc.evaluation.compare import compare
from nvmc.evaluation.given_values import Given, as_values
from nvmc.evaluation.goals import as_goal
from nvmc.evaluation.parameters import PARAMETERS, Setup, Value, duration_text
from nvmc.evaluation.population import Executor, Threads
from nvmc.evaluation.records import Archive
from nvmc.evaluation.sensitivity import population_count, sensitivity
from nvmc.evaluation.simulation import simulate
from nvmc.evaluation.sweep import point_count, sweep
from nvmc.evaluation.uncertainty import uncertainty
from nvmc.evaluation.value_uncertainty import value_shifts, value_uncertainty
from nvmc.evaluation.workload import Options
from nvmc.hardware.compensation import Compensation
from nvmc.hardware.devices import Device, NoiseSource
from nvmc.metrics import as_metric
from nvmc.page.report import Report
from nvmc.page.tile_map import tile_map

__all__ = ["DOUBTING", "PARTIAL", "RUNS", "Shown", "Told", "make_report"]

RUNS = 500
"""Chips: with k = 1 the KPP has both ends from 368 on, and a difference of two from 477 on."""
PARTIAL, DOUBTING = 100, 20
"""Chips of a sensitivity, and of an uncertainty: as their commands have them."""

Told = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""From what is run, and how many steps that has, to what is called at each step."""


@dataclass(frozen=True)
class _Chips:
    """How the chips of every part are made."""

    noise: tuple[NoiseSource | str, ...]
    sigma: float | None
    time_s: float | None
    temperature_c: float | None

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(vars(self))

    def at(self, values: Mapping[str, Sequence[Value]]) -> dict[str, Sequence[Value]]:
        """Values of a sweep, with those of the chips where they are not swept."""
        own: dict[str, tuple[float | None, str]] = {
            "sigma": (self.sigma, f"{self.sigma}"),
            "time": (self.time_s, duration_text(self.time_s or 0)),
            "temperature": (self.temperature_c, f"{self.temperature_c}C"),
        }
        stated = {n: [Value(v, text)] for n, (v, text) in own.items() if v is not None}
        return {**stated, **values}


class Shown(Options, total=False):
    """`Options`, and what is on the page.

    Attributes:
        goal: What a chip must reach, as after `--goal`: the yield is stated.
        sweeps: For each chart of curves its values by parameter, as `nvmc.sweep` takes them:
            `{"sigma": [0, 0.1]}`, or a list of such.
        with_sensitivity: Whether to say which noise costs what, with 100 chips and k = 5.
        with_uncertainty: Whether to say what chips know of their doubts, with 20 chips.
        hardware: What to cost the networks on, by name, file or value. Where a network cannot be
            costed, such as one without converters, the page says why.
        chip: Number of the chip whose programmed cells the tile map shows; 0 by default.
        title: Heading of the page.
        date: A date to be printed; none by default, so that the same run gives the same bytes.
        command: What was typed.
        told: Says how far it is.
    """

    goal: float | str | None
    sweeps: Mapping[str, Given] | Sequence[Mapping[str, Given]]
    with_sensitivity: bool
    with_uncertainty: bool
    hardware: Sequence[Hardware | str | Path]
    chip: int
    title: str
    date: str
    command: str
    told: Told | None


@checked
def make_report(
    *networks: Compiled,
    runs: int = RUNS,
    devices: Sequence[Device | str | Path] = (),
    noise: Sequence[NoiseSource | str] = (),
    sigma: float | None = None,
    time_s: float | None = None,
    temperature_c: float | None = None,
    compensate: Sequence[Compensation | str] = (),
    calibration_data: Data | None = None,
    percentile: float = 1.0,
    seed: int = 0,
    jobs: int | None = None,
    executor: Executor | None = None,
    stores: Sequence[Archive] = (),
    **options: Unpack[Shown],
) -> Report:
    """Run what a report shows: chips, tile maps, and what is asked for beside them.

    Args:
        networks: From `open_compiled` or `nvmc.compile`. Several are compared, as in `compare`.
        runs: Chips of each, and at each point of a sweep.
        devices: Another device than compiled for; several for one network are compared.
        noise: More noise sources behind the devices' own.
        sigma: Strength of the devices' noise instead of their default.
        time_s: Seconds since programming.
        temperature_c: Of the cells, degrees Celsius.
        compensate: What chips do against their noise. Sensitivity and uncertainty refuse it.
        calibration_data: Images for that.
        percentile: k of the KPP.
        seed: Population of chips.
        jobs: Chips in parallel; changes nothing but the time.
        executor: Where chips are run; in `jobs` threads by default.
        stores: Keep chips: one for all networks, or one for each.
        **options: What is on the page, data, fidelity and the like; see `Shown`.

    Raises:
        OptionError, DataError, ModelError, StoreError, HardwareError: By what is wrong.
    """
    if compensate and (options.get("with_sensitivity") or options.get("with_uncertainty")):
        raise OptionError(
            "sensitivity and uncertainty have no chips that compensate; leave these out, or "
            "compensate"
        )
    cases = _cases(networks, devices)
    kept = _stores(stores, networks, len(cases))
    asked, page = _asked(options)
    chips = _Chips(tuple(noise), sigma, time_s, temperature_c)
    told = page.get("told") or _silent
    where = executor or Threads(jobs)
    tuned: dict[str, Any] = {"compensate": compensate, "calibration_data": calibration_data}
    made = _Making(runs, chips, seed, percentile, where, jobs, tuned, asked, told)
    return made.report(networks, cases, kept, page)


def _asked(options: Shown) -> tuple[Options, dict[str, Any]]:
    """What chips are run on, with data read once for all parts; and the rest, checked."""
    metric = as_metric(options.get("metric"))
    names = Options.__annotations__
    asked: Any = {name: value for name, value in options.items() if name in names}
    page: dict[str, Any] = {name: value for name, value in options.items() if name not in names}
    page["goal"] = as_goal(page.get("goal"), metric)
    sweeps: Any = page.get("sweeps") or ()
    several: Any = [sweeps] if isinstance(sweeps, Mapping) else sweeps
    page["sweeps"] = [as_values(_swept(one)) for one in several]
    page["hardware"] = [load_hardware(one) for one in page.get("hardware") or ()]
    if asked.get("data") is not None:
        asked["data"] = load_data(asked["data"], limit=asked.get("limit"))
    return asked, page


def _silent(part: str, steps: int) -> AbstractContextManager[Callable[[], None]]:
    return nullcontext(lambda: None)


def _cases(
    networks: Sequence[Compiled], devices: Sequence[Device | str | Path]
) -> list[tuple[Compiled, Device | str | Path | None]]:
    """Each network with its device; None for the one that it was compiled for."""
    if not networks:
        raise OptionError("there is no network; give at least one that was compiled")
    if len(devices) > 1 and len(networks) > 1:
        raise OptionError(
            f"there are {len(networks)} networks and {len(devices)} devices; give one network with "
            "several devices, or several networks with at most one device"
        )
    return [(network, device) for network in networks for device in devices or [None]]


def _stores(
    stores: Sequence[Archive], networks: Sequence[Compiled], cases: int
) -> list[Archive | None]:
    if len(stores) not in (0, 1, len(networks)):
        raise OptionError(f"there are {len(stores)} stores; expected 1 or {len(networks)}")
    return [*stores] * (cases // len(stores)) if stores else [None] * cases


def _swept(values: Mapping[str, Given]) -> Mapping[str, Given]:
    if not values:
        raise OptionError(
            f"a sweep has no parameter; give one of {', '.join(PARAMETERS)} with its values"
        )
    return values


@dataclass(frozen=True)
class _Making:
    """Runs each part; its fields are what the parts share."""

    runs: int
    of: _Chips
    seed: int
    percentile: float
    executor: Executor
    jobs: int | None
    tuned: Mapping[str, Any]
    options: Options
    tell: Told

    def report(
        self,
        networks: Sequence[Compiled],
        cases: Sequence[tuple[Compiled, Any]],
        kept: Sequence[Archive | None],
        page: Mapping[str, Any],
    ) -> Report:
        """Everything: first what complains at once, or ends soon."""
        results, uncosted = self.costs(networks, page["hardware"])
        for network, device in cases:
            results.append(self.tiles(network, device, page.get("chip", 0)))
            if page.get("with_uncertainty"):
                results.append(self.doubts(network, device))
            if page.get("with_sensitivity"):
                results.append(self.parts(network, device))
        results.insert(0, self.chips(networks, cases, kept, page["goal"]))
        for (network, device), store in zip(cases, kept, strict=True):
            for values in page["sweeps"]:
                results.append(self.curves(network, device, store, values, page["goal"]))
        told = (page.get("title", ""), page["goal"], page.get("command", ""), page.get("date", ""))
        return Report(tuple(results), *told, tuple(uncosted))

    def costs(
        self, networks: Sequence[Compiled], several: Sequence[Hardware]
    ) -> tuple[list[Any], dict[str, None]]:
        """The cost of each network, on whatever devices it runs; and why one has none."""
        results: list[Any] = []
        uncosted: dict[str, None] = {}
        for network in {id(one): one for one in networks}.values():
            for hardware in several:
                try:
                    results.append(self.cost(network, hardware))
                except (OptionError, ModelError) as error:  # the rest can be shown
                    name = Path(network.folder).name.removesuffix(".nvmc")
                    uncosted[f"No cost of {name}: {as_called(str(error))}."] = None
        return results, uncosted

    def cost(self, network: Compiled, hardware: Hardware) -> Any:
        data = self.options.get("data")
        with self.tell("cost", 1) as advance:
            found = estimate_cost(network, hardware, data=data)
            advance()
        return found

    def tiles(self, network: Compiled, device: Any, chip: int) -> Any:
        with self.tell("tile map", len(network.manifest.arrays)) as advance:
            given: dict[str, Any] = {**self.of.keywords, "device": device, "seed": self.seed}
            return tile_map(network, chip=chip, on_array=advance, **given)

    def parts(self, network: Compiled, device: Any) -> Any:
        given = {**self.of.keywords, "device": device}
        setup = Setup.of(
            network.manifest.target,
            device,
            self.of.noise,
            self.of.sigma,
            self.of.time_s,
            temperature_c=self.of.temperature_c,
        )
        steps = PARTIAL * population_count(network, setup)
        with self.tell("sensitivity", steps) as advance:
            return sensitivity(
                network,
                runs=PARTIAL,
                seed=self.seed,
                executor=self.executor,
                on_chip=lambda chip, value: advance(),
                **given,
                **self.options,
            )

    def doubts(self, network: Compiled, device: Any) -> Any:
        data: Any = self.options.get("data")
        if data is None:
            raise DataError("uncertainty needs data with labels or values; give --data")
        images = data.for_network([entry.name for entry in network.manifest.inputs])
        valued = images.targets is not None
        shifts = value_shifts(images, None) if valued else shifts_for(images.x, None, images.y)
        options: Any = {k: v for k, v in self.options.items() if k not in ("data", "metric")}
        with self.tell("uncertainty", DOUBTING * len(shifts)) as advance:
            return (value_uncertainty if valued else uncertainty)(
                network,
                data=images,
                runs=DOUBTING,
                device=device,
                seed=self.seed,
                jobs=self.jobs,
                on_chip=advance,
                **self.of.keywords,
                **options,
            )

    def chips(
        self,
        networks: Sequence[Compiled],
        cases: Sequence[tuple[Compiled, Any]],
        kept: Sequence[Archive | None],
        goal: float | None,
    ) -> Any:
        """The chips: a simulation, or a comparison where there are several cases."""
        given: dict[str, Any] = {
            **self.of.keywords,
            **self.tuned,
            "runs": self.runs,
            "seed": self.seed,
            "percentile": self.percentile,
            "executor": self.executor,
            **self.options,
        }
        with self.tell("chips", self.runs * len(cases)) as advance:

            def step(chip: int, value: float) -> None:
                advance()

            given["on_chip"] = step
            if len(cases) > 1:
                several = list(_devices(cases))
                stores = [store for store in kept if store is not None]
                return compare(*networks, devices=several, stores=stores, **given)
            (network, device), (store,) = cases[0], kept
            age = given.pop("time_s")
            ages = None if age is None else [age]
            return simulate(network, device=device, times_s=ages, store=store, goal=goal, **given)

    def curves(
        self,
        network: Compiled,
        device: Any,
        store: Archive | None,
        values: Mapping[str, Sequence[Value]],
        goal: float | None,
    ) -> Any:
        wanted = self.of.at(values)
        with self.tell(f"sweep over {', '.join(values)}", self.runs * point_count(wanted)) as step:
            return sweep(
                network,
                wanted,
                runs=self.runs,
                device=device,
                noise=self.of.noise,
                percentile=self.percentile,
                seed=self.seed,
                goal=goal,
                executor=self.executor,
                store=store,
                on_chip=lambda chip, value: step(),
                **self.tuned,
                **self.options,
            )


def _devices(cases: Sequence[tuple[Compiled, Any]]) -> Iterator[Any]:
    """The devices as `compare` takes them: each once."""
    seen: list[Any] = []
    for _, device in cases:
        if device is not None and device not in seen:
            seen.append(device)
            yield device
