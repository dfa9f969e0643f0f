"""Functions to minimise whose least value is 0 at a drawn place off the centre, in rows: (m, n) to (m,).

Scales and distortions are those of CEC 2013 (Liang et al., technical report 201212): a box of 100 either way, the
function's own range within it, and rotation by a drawn orthogonal matrix.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# numpy leaves open what drawing and arithmetic give

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from actors.evolving.box import Array, Box

GENES = 10
_DRAWN = np.random.default_rng(20130)
_PLACE = _DRAWN.uniform(-80.0, 80.0, GENES)
_TURN = np.linalg.qr(_DRAWN.standard_normal((GENES, GENES)))[0]


@dataclass(frozen=True, slots=True)
class Landscape:
    """A function over a box."""

    name: str
    box: Box
    losses: Callable[[Array], Array]


def sphere(rows: Array) -> Array:
    """The squared distance."""
    z = rows - _PLACE
    return np.asarray((z * z).sum(axis=1))


def ellipsoid(rows: Array) -> Array:
    """Axes a million apart in steepness, rotated."""
    z = _wavy((rows - _PLACE) @ _TURN)
    return np.asarray((10.0 ** (6.0 * np.arange(GENES) / (GENES - 1)) * z * z).sum(axis=1))


def rosenbrock(rows: Array) -> Array:
    """A bent valley, rotated."""
    z = (rows - _PLACE) @ _TURN * 0.02048 + 1.0
    return np.asarray((100.0 * (z[:, :-1] ** 2 - z[:, 1:]) ** 2 + (z[:, :-1] - 1.0) ** 2).sum(axis=1))


def griewank(rows: Array) -> Array:
    """Many small waves on a bowl of uneven axes, rotated."""
    stretch = 100.0 ** (0.5 * np.arange(GENES) / (GENES - 1))
    z = (rows - _PLACE) @ _TURN * 6.0 * stretch
    waves = np.cos(z / np.sqrt(np.arange(1.0, GENES + 1.0))).prod(axis=1)
    return np.asarray((z * z).sum(axis=1) / 4000.0 - waves + 1.0)


def rastrigin(rows: Array) -> Array:
    """Deep waves on a bowl of uneven axes; genes are independent."""
    stretch = 10.0 ** (0.5 * np.arange(GENES) / (GENES - 1))
    z = _uneven(_wavy((rows - _PLACE) * 0.0512)) * stretch
    return np.asarray((z * z - 10.0 * np.cos(2.0 * np.pi * z) + 10.0).sum(axis=1))


def schwefel(rows: Array) -> Array:
    """The second best valley is far from the best; genes are independent."""
    z = np.clip((rows - _PLACE) * 10.0 + 420.9687462275036, -500.0, 500.0)
    return np.asarray(418.9828872724338 * GENES - (z * np.sin(np.sqrt(np.abs(z)))).sum(axis=1))


def mixed(rows: Array) -> Array:
    """Five real genes and five whole ones; each wrong whole one costs a step besides its distance."""
    real = rows[:, :5] - np.array([1.3, -2.1, 0.4, 3.3, -0.7])
    whole = rows[:, 5:] - np.array([3.0, 7.0, 1.0, 9.0, 5.0])
    return np.asarray((real * real).sum(axis=1) + np.abs(whole).sum(axis=1) + 2.0 * (whole != 0.0).sum(axis=1))


def _wavy(x: Array) -> Array:
    """The oscillation of CEC 2013: breaks symmetry and smoothness, leaves 0 and the signs."""
    size = np.log(np.abs(np.where(x == 0.0, 1.0, x)))
    up = np.sin(10.0 * size) + np.sin(7.9 * size)
    down = np.sin(5.5 * size) + np.sin(3.1 * size)
    moved = np.sign(x) * np.exp(size + 0.049 * np.where(x > 0.0, up, down))
    return np.asarray(np.where(x == 0.0, 0.0, moved))


def _uneven(x: Array) -> Array:
    """The asymmetry of CEC 2013: what is above 0 is steeper, later genes more so."""
    above = np.maximum(x, 0.0)
    power = 1.0 + 0.2 * np.arange(GENES) / (GENES - 1) * np.sqrt(above)
    return np.where(x > 0.0, above**power, x)


WIDE = Box(np.full(GENES, -100.0), np.full(GENES, 100.0))
HALVES = Box(np.array([-5.0] * 5 + [0.0] * 5), np.array([5.0] * 5 + [10.0] * 5), 5)

LANDSCAPES = tuple(
    Landscape(function.__name__, HALVES if function is mixed else WIDE, function)
    for function in (sphere, ellipsoid, rosenbrock, griewank, rastrigin, schwefel, mixed)
)
