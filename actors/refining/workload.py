"""The benchmark's workload: sentences of which every run has the same, in the same order, on every machine. Pure."""

from __future__ import annotations

from typing import Any

SEED = "v1"
"""Named in every result: a run with another workload is not comparable."""

_SUBJECTS = (
    "the battery", "this film", "our waiter", "the new update", "the plot", "my second phone", "the hotel room",
    "the customer support", "the soundtrack", "the delivery", "this camera",
)  # fmt: skip
_VERBS = ("is", "was", "seems", "turned out to be", "isn't", "was never", "used to be")
_DEGREES = ("", "really", "not very", "extremely", "a bit", "kind of", "hardly", "absolutely", "SO")
_WORDS = (
    "good", "terrible", "great", "boring", "wonderful", "broken", "fine", "awful", "lovely", "slow", "perfect",
    "disappointing", "cheap",
)  # fmt: skip
_ENDINGS = (
    ".", "!", "!!!", ", but I would buy it again.", ", and nobody cared :(", " :)", ", although the price is fair.",
    ". I waited three weeks for it, read every review that I could find, and still don't know what to think.",
)  # fmt: skip


_PARTS = (_SUBJECTS, _VERBS, _DEGREES, _WORDS, _ENDINGS)


def inputs(count: int) -> list[dict[str, Any]]:
    """``count`` inputs for an agent that reads texts, of 10 to 160 characters.

    The parts' lengths have no common divisor, so counting up goes through every combination: 72,072 differ.
    """
    return [{"text": _sentence([part[number % len(part)] for part in _PARTS])} for number in range(count)]


def _sentence(parts: list[str]) -> str:
    *words, ending = parts
    text = " ".join(word for word in words if word) + ending
    return text[0].upper() + text[1:]
