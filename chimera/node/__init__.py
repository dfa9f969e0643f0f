"""A node assembled from its settings."""

from .node import Node
from .parts import Parts
from .runfile import RunFile, read_run_file

__all__ = ["Node", "Parts", "RunFile", "read_run_file"]
