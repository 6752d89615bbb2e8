"""What a chip is made of: devices, encoding, tiles, and the state of every cell."""
