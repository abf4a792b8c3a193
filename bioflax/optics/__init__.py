"""Physics of light and cameras: pure functions, units in their names."""
