"""Anytime-valid statistics: exact under the null by enumeration, one by one as in a batch, and true at the extremes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from scipy import special

from actors.inference.bernstein import MeanSequence
from actors.inference.betting import Bets
from actors.inference.blocks import LARGEST, Blocks
from actors.inference.combining import e_bh, of_dependent, of_disjoint
from actors.inference.covariate import Cuped
from actors.inference.means import AsymptoticSequence
from actors.inference.paths import Array, bets_path, ratio_path, two_by_two_path, wins_path
from actors.inference.quantiles import MOST, QuantileSequence, boundary
from actors.inference.ratio import SampleRatio
from actors.inference.spending import EXPONENT, ErrorBudget, gamma
from actors.inference.twobytwo import TwoByTwo
from actors.inference.wins import log_e_wins

ZETA = float(special.zeta(EXPONENT))  # pyright: ignore[reportUnknownMemberType] - scipy ships no types
Points = Sequence[tuple[float, float]]
"""A distribution: (value, probability)."""


def dice(seed: int) -> random.Random:
    """A generator with a seed."""
    return random.Random(seed)  # noqa: S311 - a simulation


def histories(points: Points, length: int) -> Iterator[tuple[tuple[float, ...], float]]:
    """Every history of independent draws with its probability."""
    for drawn in itertools.product(points, repeat=length):
        yield tuple(value for value, _ in drawn), math.prod(chance for _, chance in drawn)


def expected(points: Points, length: int, e_of: Callable[[Sequence[float]], float]) -> float:
    """The exact mean of an e-value after so many draws."""
    return math.fsum(chance * e_of(values) for values, chance in histories(points, length))


@pytest.mark.parametrize("win", [0.5, 0.4, 0.1])
@pytest.mark.parametrize("length", [1, 5, 12])
def test_wins_are_a_fair_game_at_best(win: float, length: int) -> None:
    """Over all histories the e-value's mean is 1 where wins and losses are alike, less where losses are likelier."""
    mean = expected(
        [(1.0, win), (0.0, 1.0 - win)], length, lambda won: math.exp(log_e_wins(int(sum(won)), length - int(sum(won))))
    )
    assert mean == pytest.approx(1.0) if win == 0.5 else mean < 1.0


def test_wins_bet_on_one_side_only() -> None:
    """Wins make the evidence for wins, losses none of it; the sides are mirrored and both grow without bound."""
    assert log_e_wins(20, 0) > 10.0
    assert log_e_wins(0, 20) < 0.0
    assert log_e_wins(0, 0) == 0.0
    assert log_e_wins(1, 0) == pytest.approx(math.log(2 * 0.5 * (0.5 + 1 / math.pi) / 0.5))


@pytest.mark.parametrize(
    ("points", "low", "high", "null"),
    [
        ([(0.0, 0.9), (1.0, 0.1)], 0.0, 1.0, 0.1),
        ([(-1.0, 0.1), (0.0, 0.8), (1.0, 0.1)], -1.0, 1.0, 0.0),
        ([(-1.0, 0.2), (0.5, 0.4), (0.0, 0.4)], -1.0, 1.0, 0.0),
        ([(-2.0, 0.5), (3.0, 0.5)], -2.0, 3.0, 0.5),
        ([(0.0, 0.999), (1.0, 0.001)], 0.0, 1.0, 0.001),
    ],
)
def test_betting_is_a_fair_game(points: Points, low: float, high: float, null: float) -> None:
    """Over all histories the e-value's mean is exactly 1 at the null's edge, and less below it."""

    def e_of(values: Sequence[float], null: float = null) -> float:
        bets = Bets(low, high, null)
        bets.add(values)
        return math.exp(bets.log_e)

    assert expected(points, 6, e_of) == pytest.approx(1.0)
    above = null + 0.1 * (high - null)
    assert expected(points, 6, lambda values: e_of(values, above)) < 1.0


@pytest.mark.parametrize(("live", "tried"), [(1, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.1, 0.1), (0.01, 0.01), (0.6, 0.4), (0.9, 0.1)])
def test_the_safe_2x2_test_is_at_most_a_fair_game(live: int, tried: int, p: float, q: float) -> None:
    """Over all histories of three blocks, sizes as traffic gives them, the mean is at most 1 wherever tried <= live."""

    def e_of(flat: Sequence[float]) -> float:
        test = TwoByTwo()
        for start in range(0, len(flat), live + tried):
            block = [int(one) for one in flat[start : start + live + tried]]
            test.add(block[:live], block[live:])
        return math.exp(test.log_e)

    total = 0.0
    for flat in itertools.product((0, 1), repeat=3 * (live + tried)):
        sides = [(one, p if place % (live + tried) < live else q) for place, one in enumerate(flat)]
        total += math.prod(chance if one else 1.0 - chance for one, chance in sides) * e_of(flat)
    assert total <= 1.0 + 1e-12


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_sample_ratio_is_a_fair_game(share: float) -> None:
    """Over all histories the mean of the e-value is exactly 1 at the intended share."""

    def e_of(drawn: Sequence[float]) -> float:
        ratio = SampleRatio(share)
        ratio.add(drawn.count(0.0), drawn.count(1.0))
        return ratio.e_value

    assert expected([(1.0, share), (0.0, 1.0 - share)], 10, e_of) == pytest.approx(1.0)


def test_batches_are_the_same_as_one_by_one() -> None:
    """How numbers come in batches changes nothing, to the last digit."""
    rng = dice(5)
    values = [rng.random() for _ in range(500)]

    def figures(size: int) -> list[object]:
        bets, mean, wide = Bets(0.0, 1.0, 0.4), MeanSequence(0.0, 1.0, 0.05), AsymptoticSequence(0.05)
        quantile = QuantileSequence(0.9, 0.05)
        for start in range(0, len(values), size):
            for one in (bets, mean, wide, quantile):
                one.add(values[start : start + size])
        return [bets.log_e, mean.interval(), wide.interval(), wide.log_e(1), quantile.interval(), bets.n, wide.mean]

    assert figures(1) == figures(7) == figures(500)


def drawn(seed: int) -> tuple[np.random.Generator, Array]:
    """A generator, and paired gains of -1, 0 and 1."""
    rng = np.random.default_rng(seed)
    return rng, rng.choice([-1.0, 0.0, 1.0], size=(2, 300), p=[0.1, 0.7, 0.2])


def test_whole_paths_are_the_streaming_tests() -> None:
    """What simulations compute at once is what the classes say after every message."""
    rng, gains = drawn(1)
    wins = wins_path(np.cumsum(gains > 0, axis=1), np.cumsum(gains < 0, axis=1))
    bets = bets_path(gains, -1.0, 1.0, 0.05)
    good, other, size = rng.integers(0, 4, (2, 300)), rng.integers(0, 2, (2, 300)), np.full(300, 3)
    safe = two_by_two_path(good, other, size, np.ones(300))
    share = ratio_path((gains > 0).astype(float), 0.2)
    for run in range(2):
        stream, table, ratio = Bets(-1.0, 1.0, 0.05), TwoByTwo(), SampleRatio(0.2)
        for at, gain in enumerate(gains[run]):
            stream.add((float(gain),))
            k = int(good[run, at])
            table.add([1] * k + [0] * (3 - k), [int(other[run, at])])
            ratio.add(int(gain <= 0), int(gain > 0))
            seen = gains[run, : at + 1]
            assert wins[run, at] == pytest.approx(log_e_wins(int((seen > 0).sum()), int((seen < 0).sum())), abs=1e-9)
            assert bets[run, at] == pytest.approx(stream.log_e, abs=1e-9)
            assert safe[run, at] == pytest.approx(table.log_e, abs=1e-9)
            assert math.exp(share[run, at]) == pytest.approx(ratio.e_value, rel=1e-6)


def test_a_million_messages_give_finite_figures() -> None:
    """No overflow and no nonsense far out, whichever side wins."""
    assert log_e_wins(1_000_000, 0) > 690_000
    assert log_e_wins(0, 1_000_000) < -10.0
    assert abs(log_e_wins(500_000, 500_000)) < 10.0
    assert not math.isnan(log_e_wins(499_000, 501_000))
    table = TwoByTwo()
    for _ in range(125):
        table.add([0] * 8_000, [1])
        table.add([1] * 8_000, [0])
    assert math.isfinite(table.log_e)
    ratio = SampleRatio(0.5)
    ratio.add(1_000_000, 0)
    assert ratio.e_value == pytest.approx(math.exp(700.0))
    ratio = SampleRatio(0.5)
    ratio.add(500_000, 500_000)
    assert 0.0 < ratio.e_value < 1.0


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_all_numbers_alike(value: float) -> None:
    """Constant numbers, also at the bounds: the interval closes in on them, and the bet goes where it must."""
    mean, bets, wide = MeanSequence(0.0, 1.0, 0.05), Bets(0.0, 1.0, 0.3), AsymptoticSequence(0.05)
    assert mean.interval() == (0.0, 1.0)
    for one in (mean, bets, wide):
        one.add([value] * 20_000)
    low, high = mean.interval()
    assert low <= value <= high
    assert high - low < 0.02
    assert bets.log_e > 3.0 if value > 0.3 else bets.log_e <= 1e-9
    assert not wide.is_ready
    assert wide.interval() == (-math.inf, math.inf)
    assert wide.log_e(1) == 0.0


def test_a_null_at_the_bounds() -> None:
    """Nothing is bet against a null that nothing can exceed; one at the lowest value is refuted by anything above."""
    for null in (1.0, 2.0):
        certain = Bets(0.0, 1.0, null)
        certain.add([1.0] * 100)
        assert certain.log_e == 0.0
    lowest = Bets(0.0, 1.0, 0.0)
    lowest.add([0.0] * 100)
    assert lowest.log_e == pytest.approx(0.0)
    lowest.add([1.0] * 50)
    assert lowest.log_e > 10.0
    for low, high, null in ((0.0, 1.0, -0.1), (1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match="null mean"):
            Bets(low, high, null)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_numbers_beyond_the_bounds_are_refused(value: float) -> None:
    """What is outside would make the tests wrong: it is an error, not a surprise."""
    for one in (MeanSequence(0.0, 1.0, 0.05), Bets(0.0, 1.0, 0.5)):
        with pytest.raises(ValueError, match="outside"):
            one.add([0.5, value])


def test_the_mean_sequence_is_the_papers() -> None:
    """Theorem 2 of Waudby-Smith and Ramdas, written once more from the paper, gives the same interval."""
    rng = dice(2)
    xs, alpha = [rng.betavariate(0.5, 2.0) for _ in range(200)], 0.05
    bets: list[float] = []
    for t in range(1, len(xs) + 1):
        means = [(0.5 + sum(xs[: i + 1])) / (i + 2) for i in range(t - 1)]
        variance = (0.25 + sum((x - m) ** 2 for x, m in zip(xs, means, strict=False))) / t
        bets.append(min(0.5, math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(1 + t)))))
    before = [(0.5 + sum(xs[:i])) / (i + 1) for i in range(len(xs))]
    cost = sum(4 * (x - m) ** 2 * (-math.log(1 - bet) - bet) / 4 for x, m, bet in zip(xs, before, bets, strict=True))
    centre = sum(x * bet for x, bet in zip(xs, bets, strict=True)) / sum(bets)
    half = (math.log(2 / alpha) + cost) / sum(bets)
    sequence = MeanSequence(-3.0, 7.0, alpha)
    sequence.add(-3.0 + 10.0 * x for x in xs)
    assert sequence.interval() == pytest.approx((10 * (centre - half) - 3, 10 * (centre + half) - 3))


def test_the_asymptotic_sequence_is_the_papers() -> None:
    """Equation 9 with its rho, and the half-normal mixture by numerical integration."""
    rng = dice(3)
    xs, alpha, best = [rng.gauss(0.1, 2.0) for _ in range(400)], 0.05, 250
    sequence = AsymptoticSequence(alpha, best)
    sequence.add(xs)
    n, mean, sd = len(xs), float(np.mean(xs)), float(np.std(xs))
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / best
    half = sd * math.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))
    assert sequence.interval() == pytest.approx((mean - half, mean + half))
    effects = np.linspace(0, 12 * math.sqrt(rho2), 200_001)
    weight = 2 * np.exp(-(effects**2) / (2 * rho2)) / math.sqrt(2 * math.pi * rho2)
    for sign in (1, -1):
        mixed = np.trapezoid(weight * np.exp(effects * sign * n * mean / sd - n * effects**2 / 2), effects)
        assert math.exp(sequence.log_e(sign)) == pytest.approx(float(mixed), rel=1e-6)


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_rare_numbers_must_be_seen_before_the_asymptotic_sequence_speaks(first: float) -> None:
    """Twenty rare events in 10,000 are too few, also where the very first number is one of them."""
    values = [1.0 if n % 500 == 250 else 0.0 for n in range(10_000)]
    sequence = AsymptoticSequence(0.05)
    sequence.add([first, *values])
    assert not sequence.is_ready
    sequence.add(values)
    assert sequence.is_ready


def test_the_quantile_boundary_is_the_papers() -> None:
    """f_t(p) = 1.5 sqrt(p (1-p) l) + 0.8 l with l = (1.4 log log(2.1 t) + log(10 / alpha)) / t."""
    inner = (1.4 * math.log(math.log(2.1 * 1000)) + math.log(10 / 0.05)) / 1000
    assert boundary(1000, 0.95, 0.05) == pytest.approx(1.5 * math.sqrt(0.95 * 0.05 * inner) + 0.8 * inner)


def test_a_quantile_interval_counts_from_the_outside() -> None:
    """Both ends are values so far from the ends of the sample as the boundary says; the upper one errs upwards."""
    sequence = QuantileSequence(0.5, 0.05)
    assert sequence.estimate() is None
    assert sequence.interval() == (-math.inf, math.inf)
    values = list(range(1000))
    dice(1).shuffle(values)
    sequence.add(values)
    radius = boundary(1000, 0.5, 0.05)
    assert sequence.interval() == (math.ceil((0.5 - radius) * 1000) - 1, math.floor((0.5 + radius) * 1000))
    assert sequence.estimate() == 499
    upper = QuantileSequence(0.999, 0.05)
    upper.add(values)
    assert upper.interval()[1] == math.inf


def test_quantiles_keep_a_bounded_number() -> None:
    """Beyond the bound nothing more is kept."""
    sequence = QuantileSequence(0.5, 0.05)
    sequence.add(float(n) for n in range(MOST + 10))
    assert sequence.n == MOST


def test_shares_of_the_budget_add_up_to_one() -> None:
    """The sum over all tests is zeta's: the first 200,000 and the integral bounds of the rest enclose 1."""
    count = 200_000
    first = math.fsum(gamma(t) for t in range(1, count + 1))
    rest = [n ** (1 - EXPONENT) / (EXPONENT - 1) / ZETA for n in (count + 1, count)]
    assert first + rest[0] < 1.0 < first + rest[1]


def test_the_budget_follows_its_rule() -> None:
    """Levels are rate * gamma_t * (promotions + 1): fewer by the test, more by the promotion."""
    budget = ErrorBudget(rate=0.1)
    assert budget.next_level == pytest.approx(0.1 / ZETA)
    budget = budget.begin().begin().promote()
    assert (budget.tests, budget.promotions) == (2, 1)
    assert budget.next_level == pytest.approx(0.1 * gamma(3) * 2)


def test_e_bh_is_the_largest_sound_set() -> None:
    """Against all subsets: of those whose every member has e >= m / (rate * size), the largest."""
    rng = dice(4)
    for _ in range(200):
        e_values = [math.exp(rng.uniform(-2, 6)) for _ in range(rng.randint(1, 6))]
        sound = [
            subset
            for size in range(len(e_values) + 1)
            for subset in itertools.combinations(range(len(e_values)), size)
            if all(e_values[one] >= len(e_values) / (0.1 * size) for one in subset)
        ]
        assert e_bh(e_values, 0.1) == list(max(sound, key=len))
    assert e_bh([], 0.1) == []


def test_evidence_is_combined_by_what_it_stands_on() -> None:
    """Disjoint messages multiply, dependent figures are averaged, nothing is 1, and certainty stays certain."""
    assert of_disjoint([2.0, 3.0]) == 6.0
    assert of_disjoint([]) == of_dependent([]) == 1.0
    assert of_dependent([2.0, 4.0]) == 3.0


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_blocks_use_most_messages_once(share: float) -> None:
    """Each message at most once and in order, most information used, sizes from the counts before the block."""
    rng, blocks, seen = dice(6), Blocks[int](), list[int]()
    information = 0.0
    sizes: set[tuple[int, int]] = {(1, 1)}
    for number in range(20_000):
        tried = rng.random() < share
        block = blocks.add(number, tried=tried)
        if block is None:
            continue
        live, other = (len(side) for side in block)
        assert (live, other) in sizes
        sizes = {
            (min(LARGEST, round(blocks.live / blocks.tried)), 1),
            (1, min(LARGEST, round(blocks.tried / blocks.live))),
        }
        information += 1.0 / (1.0 / live + 1.0 / other)
        seen += [*block[0], *block[1]]
    assert len(seen) == len(set(seen))
    assert information > 0.9 / (1.0 / blocks.live + 1.0 / blocks.tried)


def test_cuped_removes_what_the_covariate_explains() -> None:
    """1 - rho^2 of the variance is left, the mean difference is kept, and what is subtracted is bounded."""
    rng, cuped, left, raw = dice(7), Cuped(5.0), list[float](), list[float]()
    for _ in range(5_000):
        x = rng.gauss(10.0, 1.0)
        y = 0.7 * x + math.sqrt(1 - 0.49) * rng.gauss(0.0, 1.0)
        left.append(cuped.adjust(y, x))
        cuped.learn([(y, x)])
        raw.append(y)
    assert np.var(left[100:]) / np.var(raw) == pytest.approx(0.51, abs=0.04)
    assert cuped.slope == pytest.approx(0.7, abs=0.05)
    assert cuped.adjust(3.0, 1e9) == 3.0 - 5.0
    assert Cuped(1.0).adjust(3.0, 1e9) == 3.0
