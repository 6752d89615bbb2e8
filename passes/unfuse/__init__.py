"""What one fused operator comes to in standard ones: a family of operators a file."""
