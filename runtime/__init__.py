"""What runs a network: the crossbar simulator, the execution provider, the Monte Carlo engine."""
