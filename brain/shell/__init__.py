"""The brain's shells: they move bytes between the runner and the world."""
