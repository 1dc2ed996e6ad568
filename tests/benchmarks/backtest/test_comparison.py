"""The interval around a difference of errors."""

import numpy as np
import pytest

from benchmarks.backtest.comparison import paired_difference


def test_a_clear_lead_has_an_interval_below_zero_and_the_same_each_time() -> None:
    generator = np.random.default_rng(0)
    rival = 10 + generator.random(100)
    errors = rival - 1 + 0.1 * generator.standard_normal(100)
    found = paired_difference(errors, rival, 14)
    assert found.low < found.mean < found.high < 0
    assert found.mean == pytest.approx(-1, abs=0.1)
    assert found == paired_difference(errors, rival, 14)


def test_equal_errors_have_no_difference() -> None:
    errors = np.arange(20.0)
    found = paired_difference(errors, errors, 5)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_errors_that_stay_alike_for_long_make_a_wider_interval_in_blocks_than_one_by_one() -> None:
    generator = np.random.default_rng(0)
    errors = np.repeat(generator.standard_normal(10), 20)  # neighbours err together
    in_blocks = paired_difference(errors, np.zeros(200), 20)
    alone = paired_difference(errors, np.zeros(200), 1)
    assert in_blocks.high - in_blocks.low > 2 * (alone.high - alone.low)


def test_blocks_of_one_give_the_interval_of_the_plain_bootstrap() -> None:
    errors = np.random.default_rng(0).standard_normal(400)
    found = paired_difference(errors, np.zeros(400), 1)
    half_width = 1.96 * errors.std() / np.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half_width, rel=0.1)


def test_a_series_shorter_than_a_block_is_taken_whole() -> None:
    found = paired_difference(np.array([1.0, 3.0]), np.zeros(2), 14)
    assert (found.low, found.high) == (2, 2)
