"""The command ``chimera``."""

from .main import main

__all__ = ["main"]
