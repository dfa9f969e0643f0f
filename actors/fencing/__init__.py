"""The fence of a node's devices: highest tokens, the holders' processes, what must be true before lending again."""
