"""`nvmc program`: one chip as a standard ONNX model, and its cells."""

from __future__ import annotations

from pathlib import Path

import click

from nvmc.cli.console import memory_option, note, note_kept, out
from nvmc.cli.running import run_options
from nvmc.compiled.artifact import find_compiled, open_compiled
from nvmc.evaluation.chip_file import program_chip
from nvmc.evaluation.parameters import parse_time
from nvmc.hardware.devices import load_device

__all__ = ["program_command"]


@click.command("program")
@click.argument("compiled", required=False, type=click.Path(path_type=Path))
@click.option("--chip", required=True, type=int, metavar="K", help="Number of the chip.")
@click.option("--seed", default=0, show_default=True, help="Seed of the population of chips.")
@click.option(
    "--device", metavar="NAME|FILE", help="Use another device than the one in the compiled network."
)
@click.option("--sigma", type=float, help="Strength of the device's noise.")
@click.option("--time", metavar="T", help="Time since programming, such as 20s, 1h or 30d.")
@run_options("noise", "temperature", "compensate", "calibration-data")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The ONNX file to write."
)
@click.option(
    "--cells",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Also write every cell's target, programmed level and pulses, by array.",
)
@memory_option
def program_command(
    compiled: Path | None,
    chip: int,
    seed: int,
    device: str | None,
    noise: tuple[str, ...],
    sigma: float | None,
    time: str | None,
    temperature_c: float | None,
    compensate: tuple[str, ...],
    calibration_data: str | None,
    output: Path,
    cells: Path | None,
) -> None:
    """Write chip K as standard ONNX; of the newest *.nvmc here by default."""
    network = find_compiled() if compiled is None else open_compiled(compiled)
    chosen = load_device(device) if device is not None else None
    time_s = None if time is None else parse_time(time)
    made = program_chip(
        network,
        chip,
        output,
        seed=seed,
        device=chosen,
        noise=noise,
        sigma=sigma,
        time_s=time_s,
        temperature_c=temperature_c,
        compensate=compensate,
        calibration_data=calibration_data,
        cells=cells,
    )
    out().print(f"Wrote chip {chip} of seed {seed} of {network.folder} to {output}")
    note_kept(network.manifest.target, device=device, sigma=sigma, noise=noise)
    if made.needs_circuit:
        note("Every read of this chip is noisy; the file holds its cells without that noise")
    if cells is not None:
        out().print(f"Wrote its cells to {cells}")
