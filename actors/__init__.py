"""The actors: one file each, thin shells around the plain modules beside them."""

__all__: list[str] = []
