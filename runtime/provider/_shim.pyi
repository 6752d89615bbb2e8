"""The native half; see csrc/."""

PROVIDER_NAME: str
LOWEST_ONNXRUNTIME: str
__file__: str
