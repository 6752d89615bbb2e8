"""What every test shares: hypothesis draws the same examples on every machine and every run."""

import os
import signal

import pytest
from hypothesis import settings

# Tests run one process per core: libraries that start a thread per core each would only make them
# wait for one another. To be set before numpy is loaded; processes that tests start inherit it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

settings.register_profile("nvmc", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("nvmc")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Shells start background jobs with SIGINT ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
