"""The members of a steady population in arrays: who is worst, who is best, who wins a tournament."""

from __future__ import annotations

import numpy as np

from .box import Array
from .engine import Birth, Members

SPARE = 64


class Herd:
    """Members in places that stay theirs; ranked by violation of limits, then by bound.

    Args:
        width: Coordinates of a vector.
        columns: Values of a member: its loss, then its constraints.
    """

    def __init__(self, width: int, columns: int) -> None:
        self.columns = columns
        self.births: list[Birth] = []
        self.measured: list[int] = []
        self._place: dict[Birth, int] = {}
        self._vectors, self._values = np.empty((SPARE, width)), np.empty((SPARE, columns))
        self._bounds, self._violations = np.empty(SPARE), np.empty(SPARE)
        self._ranks: list[tuple[float, float]] = []  # the same two, as quickly read one by one

    def __len__(self) -> int:
        return len(self.births)

    def __contains__(self, birth: Birth) -> bool:
        return birth in self._place

    @property
    def vectors(self) -> Array:
        """(m, n)."""
        return self._vectors[: len(self)]

    @property
    def values(self) -> Array:
        """(m, k)."""
        return self._values[: len(self)]

    def members(self) -> Members:
        """All of them, copied."""
        return Members(self.vectors.copy(), self.values.copy(), tuple(self.births))

    def order(self) -> list[int]:
        """Places from the best to the worst."""
        count = len(self)
        found: list[int] = np.lexsort((self._bounds[:count], self._violations[:count])).tolist()
        return found

    def worst(self) -> int:
        """The place of the worst member; of equal ones the first."""
        count = len(self.births)
        bounds = self._bounds[:count]
        if self.columns == 1:
            return int(bounds.argmax())
        broken = self._violations[:count]
        return int(np.where(broken == broken.max(), bounds, -np.inf).argmax())

    def better(self, values: Array, bound: float, place: int) -> bool:
        """Whether a newcomer is better than a member."""
        return (_violation(values), bound) < self._ranks[place]

    def tournament(self, first: int, second: int) -> int:
        """The better of two places, given as any numbers; of equal ones the first."""
        count = len(self.births)
        one, two = first % count, second % count
        return two if self._ranks[two] < self._ranks[one] else one

    def add(self, birth: Birth, vector: Array, values: Array, bound: float) -> None:
        """A member more."""
        count = len(self)
        if count == len(self._bounds):
            self._vectors, self._values = _longer(self._vectors), _longer(self._values)
            self._bounds, self._violations = _longer(self._bounds), _longer(self._violations)
        self.births.append(birth)
        self.measured.append(1)
        self._ranks.append((0.0, 0.0))
        self._place[birth] = count
        self._write(count, values, bound)
        self._vectors[count] = vector

    def put(self, place: int, birth: Birth, vector: Array, values: Array, bound: float) -> None:
        """Another member in a place."""
        del self._place[self.births[place]]
        self.births[place], self.measured[place] = birth, 1
        self._place[birth] = place
        self._write(place, values, bound)
        self._vectors[place] = vector

    def renew(self, birth: Birth, values: Array, bound: float) -> bool:
        """Another measurement of a member; False if it is none."""
        place = self._place.get(birth)
        if place is None:
            return False
        self.measured[place] += 1
        self._write(place, values, bound)
        return True

    def shrink(self, size: int) -> list[Array]:
        """Let the worst go until there are ``size``; gives their vectors."""
        if len(self) <= size:
            return []
        order = self.order()
        kept, gone = sorted(order[:size]), sorted(order[size:])
        vectors = [self._vectors[place].copy() for place in gone]
        for array in (self._vectors, self._values, self._bounds, self._violations):
            array[:size] = array[kept]
        self.births = [self.births[place] for place in kept]
        self.measured = [self.measured[place] for place in kept]
        self._ranks = [self._ranks[place] for place in kept]
        self._place = {birth: place for place, birth in enumerate(self.births)}
        return vectors

    def _write(self, place: int, values: Array, bound: float) -> None:
        broken = _violation(values)
        self._values[place], self._bounds[place], self._violations[place] = values, bound, broken
        self._ranks[place] = (broken, bound)


def _violation(values: Array) -> float:
    return float(np.maximum(values[1:], 0.0).sum()) if len(values) > 1 else 0.0


def _longer(array: Array) -> Array:
    return np.concatenate([array, np.empty_like(array)])
