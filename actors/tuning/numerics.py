"""The few functions of scipy that the Gaussian process needs, with types: scipy ships none."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr
from scipy.stats import qmc

from .cube import Array


def inverse_root(matrix: Array) -> Array:
    """The inverse of the lower Cholesky factor of a matrix.

    Raises:
        LinAlgError: If the matrix is not positive definite.
    """
    lower = np.linalg.cholesky(matrix)
    return np.asarray(solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False))


def minimise(
    function: Callable[[Array], tuple[float, Array]], start: Array, bounds: Sequence[tuple[float, float]], steps: int
) -> tuple[Array, float]:
    """The place and value that L-BFGS-B finds within bounds; ``function`` gives value and gradient."""
    found = minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    return np.asarray(found.x, dtype=float), float(found.fun)


def log_normal_cdf(x: Array) -> Array:
    """The logarithm of Phi(x), also far below 0."""
    return np.asarray(log_ndtr(x), dtype=float)


def scaled_erfc(x: Array) -> Array:
    """exp(x^2) erfc(x)."""
    return np.asarray(erfcx(x), dtype=float)


def log_normal_cdf_at(x: float) -> float:
    """The logarithm of Phi(x) for one number."""
    return float(log_ndtr(x))


def scaled_erfc_at(x: float) -> float:
    """exp(x^2) erfc(x) for one number."""
    return float(erfcx(x))


def sobol_point(width: int, seed: int, index: int) -> Array:
    """The point ``index`` of the scrambled Sobol sequence of ``seed``, (width,)."""
    sequence = qmc.Sobol(width, scramble=True, rng=seed)
    if index:
        sequence.fast_forward(index)
    return np.asarray(sequence.random(1)[0], dtype=float)
