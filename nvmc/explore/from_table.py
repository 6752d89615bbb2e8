"""A design out of the table that `nvmc explore` writes: `front.csv#3`."""

from __future__ import annotations

import csv
from pathlib import Path

from nvmc.arguments import checked
from nvmc.errors import ArtifactError, OptionError
from nvmc.explore.choices import choice_of_text
from nvmc.explore.space import CHOICES, Design

__all__ = ["design_from"]


@checked
def design_from(text: str) -> Design:
    """The design that a row of a table states, such as `front.csv#3` for the third of the front.

    Raises:
        ArtifactError: There is no such file.
        OptionError: It is no such table, or has no such row.
    """
    name, hash_sign, place = text.rpartition("#")
    if not hash_sign or not name or not place.isdecimal():
        raise OptionError(f"from is {text!r}; expected FILE#N, such as front.csv#1")
    try:
        with Path(name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ArtifactError(f"cannot read {name!r}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{name!r} is no table of nvmc explore: {error}") from error
    if not rows or not {"place", "design"} <= rows[0].keys():
        raise OptionError(
            f"{name!r} is no table of nvmc explore: it has no columns place and design"
        )
    row = next((row for row in rows if row["place"] == str(int(place))), None)
    if row is None:
        places = f"1 to {len(rows)}" if len(rows) > 1 else "1"
        raise OptionError(f"{name!r} has no place {place}; expected {places}")
    choices = {key: choice_of_text(key, value) for key, value in row.items() if key in CHOICES}
    if not row["design"].isdecimal():
        raise OptionError(f"{name!r}: design is {row['design']!r}; expected a whole number")
    return Design(int(row["design"]), choices)
