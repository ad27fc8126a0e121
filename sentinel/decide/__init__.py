"""sentinel decides."""
