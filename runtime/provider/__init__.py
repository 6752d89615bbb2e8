"""`NvmcExecutionProvider`: compiled networks as noisy chips inside onnxruntime.

The native half (csrc/) is a thin plugin execution provider; every decision and every operator is
Python. See docs/provider.md.
"""

from nvmc.runtime.provider.claims import Claim, record_claims
from nvmc.runtime.provider.kernels import Call
from nvmc.runtime.provider.registration import PROVIDER_NAME, make_session, register_provider
from nvmc.runtime.provider.session import observe_arrays, watch_layers

__all__ = [
    "PROVIDER_NAME",
    "Call",
    "Claim",
    "make_session",
    "observe_arrays",
    "record_claims",
    "register_provider",
    "watch_layers",
]
