"""Seeded generators of what the small models are trained on and asked about: the same seed, the same data."""
