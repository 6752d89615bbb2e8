"""What chips are worth: a network with its images, a population of chips, and the studies."""
