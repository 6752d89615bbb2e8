"""What a chip costs: energy, time and area of a compiled network on hardware (docs/cost.md)."""
