"""The command `nvmc`, and `python -m nvmc`.

Ctrl-C is taken over before anything is loaded that takes time.
"""

from __future__ import annotations

import sys

from nvmc import interruption

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process; see `nvmc.cli.main` for the exit code.

    Where Ctrl-C ended it, threads may still compute in native code, which must not find the
    interpreter gone: what is to be put away has been, so the process ends without more ado.
    """
    interruption.install()
    from nvmc.cli import main as run

    try:
        code = run()
        if code != interruption.EXIT_CODE:
            interruption.end()
            return code
    except KeyboardInterrupt:  # between two handlers of `run`
        interruption.leave(f"nvmc: error: interrupted; {interruption.NOTHING_HALF}\n")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, full or not there
            pass
    interruption.leave()


if __name__ == "__main__":
    sys.exit(main())
