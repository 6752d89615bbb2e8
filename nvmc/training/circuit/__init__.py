"""The circuit of a mapped layer in torch, with the codes of `nvmc.runtime.crossbar`."""
