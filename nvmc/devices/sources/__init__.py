"""The noise sources, by what they act on; `nvmc.devices.noise` is the table of them all."""
