"""What a worker process of this machine does before all else; dask is told this module's name."""

from __future__ import annotations

import signal

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C to the process that started the workers: it ends them.

    Args:
        worker: The worker, which dask hands over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
