"""The crossbar simulator in NumPy: operators lowered to matrix-vector products, and the product."""
