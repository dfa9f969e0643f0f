"""What a device at the edge needs, and the agents that ship with the project."""
