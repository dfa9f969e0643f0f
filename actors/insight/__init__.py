"""What the figures say: patterns, anomalies, drift and small models. Pure: no bus, no actor, no clock.

Each module is one concept and is imported where it is used, because numpy, scipy, river and ruptures are heavy.
"""
