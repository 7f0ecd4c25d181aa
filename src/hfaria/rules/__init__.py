"""Values and decisions: pure, without I/O, clock or environment."""
