"""How good a detector's scores and alarms are against labels."""

from __future__ import annotations

import numpy as np

from .arrays import Flags, Floats

_THRESHOLDS = 250


def vus_pr(scores: Floats, labels: Flags, *, most: int = 60, steps: int = 7) -> float:
    """Volume under the surface of precision and recall (Paparrizos et al., VLDB 2022); chance is the label's share.

    For each buffer of 0 to ``most`` points around each labelled stretch, points in the buffer count in part: detectors
    that are early or late by a little are not punished as if blind, and no threshold is picked.

    Args:
        scores: Higher = more anomalous; shape (n,).
        labels: Shape (n,).
        most: Largest buffer in points.
        steps: How many buffers.
    """
    if not labels.any():
        return 0.0
    places = np.unique(np.linspace(0, most, steps).astype(int))
    return float(np.mean([_range_pr(scores, labels, int(buffer)) for buffer in places]))


def _range_pr(scores: Floats, labels: Flags, buffer: int) -> float:
    soft = _soften(labels, buffer)
    positives = float((labels + soft).sum() / 2)
    begins, ends = stretches(labels)
    limits = np.unique(np.quantile(scores, np.linspace(1, 0, _THRESHOLDS)))[::-1]
    peaks = np.array([scores[begin:end].max() for begin, end in zip(begins, ends, strict=True)])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(soft[order])
    told = np.searchsorted(-scores[order], -limits, side="right")
    reached = (peaks[None, :] >= limits[:, None]).mean(axis=1)
    recall = np.minimum(hits[told - 1] / positives, 1) * reached
    precision = hits[told - 1] / told
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _soften(labels: Flags, buffer: int) -> Floats:
    """1 inside, falling as the square root of the distance to 0 at half a ``buffer`` outside."""
    soft = labels.astype(np.float64)
    half = buffer // 2
    for begin, end in zip(*stretches(labels), strict=True):
        for distance in range(1, half + 1):
            weight = (1 - distance / (half + 1)) ** 0.5
            for place in (begin - distance, end - 1 + distance):
                if 0 <= place < soft.size:
                    soft[place] = max(soft[place], weight)
    return soft


def stretches(labels: Flags) -> tuple[list[int], list[int]]:
    """Begins and ends (exclusive) of the runs of true."""
    edges = np.diff(labels.astype(np.int8), prepend=0, append=0)
    return [int(i) for i in np.flatnonzero(edges == 1)], [int(i) for i in np.flatnonzero(edges == -1)]


def roc_auc(scores: Floats, labels: Flags) -> float:
    """The chance that a labelled point scores higher than another one; ties count half (Mann & Whitney 1947)."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positives = int(labels.sum())
    negatives = labels.size - positives
    if not positives or not negatives or not values.size:
        return 0.5
    total = float(ranks[inverse][labels].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(scores: Floats, labels: Flags) -> float:
    """Precision averaged over the labelled points as the threshold falls; ties stand in their given order."""
    found = labels[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(found)
    return float((hits / np.arange(1, found.size + 1))[found].mean()) if hits.size and hits[-1] else 0.0
