"""The brain of the agent actor: genomes, manifests, routing, batching, breakers, releases, records."""

from .settings import Serving

__all__ = ["Serving"]
