"""How to cite: nvmc, the devices, and what must be said so that the numbers can be made again."""

from __future__ import annotations

from collections.abc import Iterator

from nvmc import __version__
from nvmc.data.items import in_items, item_of
from nvmc.evaluation.captions import name_of, setup_words
from nvmc.page.blocks import Block, Paragraph, Quotation
from nvmc.page.report import Population, Report
from nvmc.page.values import share_text

__all__ = ["cite"]


def cite(report: Report) -> Iterator[Block]:
    """A sentence for the methods, an entry for the references, and the devices' sources."""
    yield Paragraph(
        "Cite nvmc, and the papers that the numbers of the devices come from. The sentence names "
        "network, chips and data; 'What was run' has every setting that others need for the same "
        "chips."
    )
    sentence = " ".join(_sentence(one, report) for one in report.populations)
    yield Quotation("methods.txt", "For the methods", sentence)
    yield Quotation("nvmc.bib", "For the references (BibTeX)", _bibtex())
    sources = {
        device.name: device.source
        for one in report.populations
        for device in one.description.setup.target.devices
    }
    told = "\n".join(f"{name}: {' '.join(source.split())}" for name, source in sources.items())
    yield Quotation("devices.txt", "Sources of the devices", told)


def _sentence(one: Population, report: Report) -> str:
    told, kpp, unit = one.description, one.kpp, report.unit
    words = ", ".join(setup_words(told).values())
    data = (
        told.data if told.data_sha256 is None else f"{told.data} (SHA-256 {told.data_sha256[:12]})"
    )
    return (
        f"{one.label}: {kpp.runs:,} chips (seed {told.seed}, from chip {told.first}) of "
        f"{name_of(told)} (SHA-256 {told.network_sha256[:12]}) on "
        f"{told.setup.target.device.name} ({words}) were simulated with nvmc {__version__} at "
        f"fidelity {told.fidelity} on {told.images:,} {item_of(told.data)}s of {data}; "
        f"KPP (k = {kpp.k:g}) {unit.text(kpp.value)} {unit.name}, "
        f"{share_text(kpp.confidence, 0)} interval over "
        f"{in_items(kpp.covers, told.data)} {unit.ends(kpp.interval)}."
    )


def _bibtex() -> str:
    return (
        "@software{nvmc,\n"
        "  author  = {{The nvmc authors}},\n"
        "  title   = {nvmc: neural networks on non-volatile compute-in-memory crossbars},\n"
        f"  version = {{{__version__}}},\n"
        "  license = {Apache-2.0},\n"
        "}"
    )
