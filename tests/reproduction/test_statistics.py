import numpy as np
import pytest

from reproduction.statistics import differences, holm, patient_counts, resampled_values, seed_weights


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.4]) == [0.8, None, 0.8]
    assert holm([0.9]) == [0.9] and holm([]) == []


def test_resamples_draw_as_many_patients_and_seeds_as_there_are():
    counts = patient_counts(50, 200)
    assert counts.shape == (200, 50) and (counts.sum(axis=1) == 50).all()
    assert (counts == patient_counts(50, 200)).all() and (counts[0] != counts[1]).any()
    assert counts.mean() == 1 and counts.var() == pytest.approx(1, abs=0.1)  # multinomial: about Poisson
    weights = seed_weights(5, 100)
    assert np.allclose(weights.sum(axis=1), 1) and weights.shape == (100, 5)


def arm(generator, seed_spread, patient_values, shift=0.0):
    """(on_all, resampled) of five seeds whose one metric is the weighted mean over patients, plus the seed's own."""
    of_seed = shift + seed_spread * generator.normal(size=5)
    pairs = [
        resampled_values(
            lambda weights, own=own: ((weights @ patient_values) / weights.sum(axis=1) + own)[:, None, None],
            len(patient_values),
            400,
        )
        for own in of_seed
    ]
    on_all, resampled = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return on_all, resampled


def compare(a, b):
    return differences((a[0], b[0]), (a[1], b[1]), np.ones((1, 1), bool), np.zeros(1, bool))[0][0]


def test_an_arm_does_not_differ_from_itself():
    one = arm(np.random.default_rng(0), 0.1, np.random.default_rng(1).normal(size=80))
    found = compare(one, one)
    # The same in every resample: no interval that claims certainty.
    assert (found.difference, found.low, found.high, found.p_value) == (0, None, None, 1.0)


def test_the_interval_knows_of_seeds_as_well_as_of_patients():
    generator = np.random.default_rng(0)
    values, others = generator.normal(size=80), generator.normal(size=80)
    widths = {}
    for name, spread, of_b in (("neither", 0.0, values), ("seeds", 0.3, values), ("patients", 0.0, others)):
        found = compare(arm(generator, spread, values), arm(generator, spread, of_b))
        widths[name] = 0 if found.low is None else found.high - found.low
    assert widths["neither"] == pytest.approx(0, abs=1e-12)
    assert widths["seeds"] > 0.2
    # The same patients in all seeds: five seeds do not make their part of the uncertainty smaller.
    assert widths["patients"] == pytest.approx(2 * 1.96 * np.std(others - values) / np.sqrt(80), rel=0.2)


def test_where_arms_are_alike_it_seldom_says_that_they_differ():
    found = []
    for number in range(60):
        generator = np.random.default_rng(number)
        values = generator.normal(size=60)
        found.append(compare(arm(generator, 0.2, values), arm(generator, 0.2, values)).p_value < 0.05)
    assert np.mean(found) < 0.2  # five seeds: a little above its nominal 0.05
    clear = compare(arm(generator, 0.05, values), arm(generator, 0.05, values, shift=1.0))
    assert clear.low > 0.8 and clear.p_value < 0.01


def noise(seed):
    return 0.01 * np.random.default_rng(seed).normal(size=(2, 40, 2, 1))


def test_a_label_that_one_arm_does_not_define_leaves_the_mean_undefined_unless_nobody_could_define_it():
    a, b = np.full((2, 2, 1), 0.5), np.full((2, 2, 1), 0.7)
    a[1, 1] = np.nan
    drawn = tuple(values[:, None] + noise(seed) for seed, values in enumerate((a, b)))
    in_mean, enough = np.ones((2, 1), bool), np.zeros(2, bool)
    first, second, mean = (row[0] for row in differences((a, b), drawn, in_mean, enough))
    assert first.difference == pytest.approx(0.2) and second.difference is None and second.p_value is None
    assert mean.difference is None
    in_mean[1] = False
    mean = differences((a, b), drawn, in_mean, enough)[-1][0]
    assert (mean.a, mean.b, mean.difference) == pytest.approx((0.5, 0.7, 0.2)) and mean.low is not None


def test_few_positives_give_no_interval_nor_does_a_mean_over_them():
    a, b = np.full((2, 2, 1), 0.5), np.full((2, 2, 1), 0.7)
    drawn = tuple(values[:, None] + noise(seed) for seed, values in enumerate((a, b)))
    found = differences((a, b), drawn, np.ones((2, 1), bool), np.array([False, True]))
    assert [row[0].low is None for row in found] == [False, True, True]
    assert [row[0].p_value is None for row in found] == [False, True, True]
