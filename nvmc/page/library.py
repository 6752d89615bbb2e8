"""The scripts that draw the charts: Vega, Vega-Lite and Vega-Embed, as vl-convert ships them."""

from __future__ import annotations

import importlib
from typing import Any

from nvmc.errors import OptionError

__all__ = ["chart_library", "check_library"]

NOTICE = """/*!
Vega, Vega-Lite, Vega-Embed, Vega-Tooltip, Vega-Interpreter (https://vega.github.io), BSD 3-Clause:
Copyright (c) 2013 Trifacta Inc., (c) 2015 University of Washington Interactive Data Lab.
D3 (https://d3js.org), ISC: Copyright Mike Bostock; permission to use, copy, modify and distribute
for any purpose with or without fee is granted, provided that this notice appears in all copies.

Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:
* Redistributions of source code must retain the above copyright notice, this list of conditions and
  the following disclaimer.
* Redistributions in binary form must reproduce the above copyright notice, this list of conditions
  and the following disclaimer in the documentation and/or other materials provided with the
  distribution.
* Neither the name of the copyright holder nor the names of its contributors may be used to endorse
  or promote products derived from this software without specific prior written permission.
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR
IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND
FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR
CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY
THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR
OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
POSSIBILITY OF SUCH DAMAGE.
*/
"""
"""What the licences of the scripts ask to be kept with them."""


def check_library() -> None:
    """Complain now, rather than after the runs, that no chart can be put on a page.

    Raises:
        OptionError: vl-convert is not installed.
    """
    _converter()


def chart_library() -> str:
    """The scripts as one text, some 0.9 MB; joining them takes some seconds.

    Raises:
        OptionError: vl-convert is not installed, or its scripts cannot stand in a page.
    """
    text = NOTICE + str(_converter().javascript_bundle())
    if "</script" in text.lower() or "<!--" in text:
        raise OptionError("the scripts of vl-convert-python would end the page's script element")
    return text


def _converter() -> Any:
    try:
        return importlib.import_module("vl_convert")
    except ImportError as error:
        raise OptionError(
            "reports need vl-convert-python, which is not installed; run "
            "`pip install 'nvmc[report]'`"
        ) from error
