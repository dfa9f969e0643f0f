"""Evolving: the pure parts of evolution; no bus, no actor, no clock."""
