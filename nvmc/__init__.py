"""nvmc: deploy neural networks on non-volatile-memory compute-in-memory crossbars, ONNX in and out."""

__version__ = "0.1.0"
__all__ = ["__version__"]
