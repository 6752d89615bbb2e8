"""Random streams: a chip is a name, not a moment.

Every random number of a chip comes from a counter-based Philox stream keyed by
(seed, chip index, array name, noise source). Nothing else enters: not the batch size, the number
of threads, the order of the calls or the machine.
"""

from nvmc.rng.streams import CountedDraw, Draw, stream

__all__ = ["CountedDraw", "Draw", "stream"]
