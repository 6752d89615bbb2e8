"""What draws no interval starts without scipy."""

from __future__ import annotations

import subprocess
import sys


def test_commands_start_without_scipy() -> None:
    code = "import sys, nvmc.cli.console, nvmc.cost.estimate; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
