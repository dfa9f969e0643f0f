"""Regrets of optuna's GPSampler (optuna 5.0.0, torch 2.15.0) on the functions of ``bench optimize``.

Measured once, because torch is no part of any environment here: default settings but for the seed, the same functions,
the same noise, 100 trials, seeds 0 to 9. Three seeds are too few to hold anything against: the first three on
Rosenbrock-5 have a median of 1.1, all ten one of 3.6.
"""

from __future__ import annotations

KNOWN: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "Branin": (
        (7.89e-05, 0.000273, 1.57e-05, 3.75e-05, 1.51e-05, 2.2e-06, 0.00068, 4.18e-05, 3.43e-05, 6.98e-06),
        (3.02e-05, 9.16e-06, 1.57e-05, 1.98e-05, 1.51e-05, 2.2e-06, 5.86e-05, 3.56e-05, 1.83e-06, 6.98e-06),
    ),
    "Hartmann-6": (
        (0.00289, 0.004, 0.246, 0.0011, 0.00539, 0.00122, 0.12, 0.000829, 0.000885, 0.00134),
        (0.000205, 9.41e-06, 0.000133, 8.06e-05, 8.63e-05, 0.000288, 0.12, 0.000101, 0.000883, 4.97e-05),
    ),
    "Ackley-10": (
        (6.88, 4.51, 5.44, 3.92, 6.56, 3.75, 4.93, 6.2, 4.92, 4.67),
        (3.15, 3.7, 3.05, 3.42, 3.52, 3.32, 3.74, 2.94, 3.88, 3.41),
    ),
    "Rosenbrock-5": (
        (11.1, 13.0, 9.0, 18.0, 10.4, 9.02, 21.7, 21.9, 16.3, 49.1),
        (0.932, 1.14, 2.96, 1.98, 3.73, 4.23, 3.53, 4.06, 4.37, 4.07),
    ),
    "noisy Hartmann-6": (
        (0.794, 0.23, 2.21, 0.749, 0.612, 1.21, 0.631, 0.722, 0.975, 1.14),
        (0.794, 0.328, 1.01, 0.507, 0.798, 1.11, 0.555, 0.203, 1.22, 0.887),
    ),
}
"""Function to regrets after 50 and after 100 trials, by seed."""
