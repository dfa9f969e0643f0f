"""Breeding: the evolver's parts around the pure ``evolving``."""
