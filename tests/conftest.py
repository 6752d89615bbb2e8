"""What every test shares: hypothesis draws the same examples on every machine and every run."""

import signal

import pytest
from hypothesis import settings

settings.register_profile("nvmc", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("nvmc")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Shells start background jobs with SIGINT ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
