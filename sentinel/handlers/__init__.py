"""What the workers run: one handler per stream."""
