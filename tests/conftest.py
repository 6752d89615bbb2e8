"""What every test shares: hypothesis draws the same examples on every machine and every run."""

from hypothesis import settings

settings.register_profile("nvmc", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("nvmc")
