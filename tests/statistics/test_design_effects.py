"""What a clustered sample is worth, against hand counts and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from safetext_sdk.statistics import Design, SampleError, Settings
from safetext_sdk.statistics.design_effect import cluster_variance, design_effect, effective_sample_size


def test_even_clusters_follow_kish() -> None:
    design = Design.even(100, 20)
    assert (design.pictures, design.prompts, design.clusters, design.cluster_size) == (100, 100, 20, 5.0)
    effect = design_effect(np.zeros(20), np.zeros(()), design)
    assert effect == pytest.approx(1 + 4 * 0.3)
    shrink = (stats.t.ppf(0.95, 99) / stats.t.ppf(0.95, 19)) ** 2
    assert effective_sample_size(effect, design) == pytest.approx(100 / 2.2 * shrink)


def test_uneven_clusters_weigh_by_their_squares() -> None:
    design = Design.of_sizes([10, 1, 1, 1, 1])
    assert design.cluster_size == pytest.approx(104 / 14)
    assert design.effective_clusters == pytest.approx(14**2 / 104)
    assert design.effective_prompts == pytest.approx(14)


def test_seeds_are_no_prompts() -> None:
    one, three = Design.even(100, 28, 1), Design.even(100, 28, 3)
    assert three.pictures == 300
    assert three.effective_prompts == pytest.approx(one.effective_prompts)
    assert three.cluster_size == pytest.approx(one.cluster_size)
    uneven = Design.of(["a"] * 9 + ["b"], ["x"] * 9 + ["y"])
    assert uneven.effective_prompts == pytest.approx(100 / 82), (
        "nine pictures of a, one of b: hardly more than one prompt"
    )


def test_a_prompt_in_two_clusters_ties_them() -> None:
    apart = Design.of(["a", "b", "c", "d"], ["x", "x", "y", "z"])
    tied = Design.of(["a", "b", "c", "a", "d"], ["x", "x", "y", "y", "z"])
    assert (apart.clusters, tied.clusters) == (3, 2)
    assert tied.prompts == 4
    assert tied.cluster_of[0] == tied.cluster_of[1] == tied.cluster_of[2] != tied.cluster_of[3]
    chain = Design.of(list("abcabc"), [1, 2, 3, 2, 3, 4])
    assert chain.clusters == 1


def test_the_estimate_is_the_clustered_variance_of_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(5)
    sizes = [3, 8, 1, 5, 9, 4, 4, 6]
    design = Design.of_sizes(sizes)
    values = (rng.random(design.prompts) < np.repeat(rng.random(len(sizes)), sizes)).astype(float)
    model = api.OLS(values, np.ones_like(values))
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": design.cluster_of}).cov_params()[0, 0]
    sums = design.cluster_sums(design.prompt_means(values))
    assert cluster_variance(sums, design) == pytest.approx(theirs)
    mean = values.mean()
    effect = design_effect(sums, np.array(mean * (1 - mean)), design, Settings(assumed_correlation=0.0))
    assert effect == pytest.approx(max(1.0, theirs / (mean * (1 - mean) / (len(values) - 1))))


def test_independent_prompts_have_no_design_effect() -> None:
    design = Design.even(50, 50)
    hits = (np.arange(50) < 9).astype(float)
    assert design_effect(hits, np.array(0.18 * 0.82), design) == pytest.approx(1.0)


def test_clusters_that_differ_more_than_assumed_count_more() -> None:
    design = Design.even(100, 20)
    hits = np.repeat([5.0, 0.0], [4, 16])  # four synonyms always, the others never
    effect = design_effect(hits, np.array(0.2 * 0.8), design)
    assert effect == pytest.approx(5 * 0.99 * 20 / 19), "one cluster says no more than one prompt"
    assert effect > 1 + 4 * 0.3


@pytest.mark.parametrize("prompts", [1, 5, 1000])
def test_one_cluster_is_worth_nothing(prompts: int) -> None:
    design = Design.even(prompts, 1)
    effect = design_effect(np.zeros(1), np.zeros(()), design)
    assert effective_sample_size(effect, design) == 0


def test_nearly_one_cluster_is_worth_nearly_nothing() -> None:
    design = Design.of_sizes([300, 1, 1])
    effect = design_effect(np.zeros(3), np.zeros(()), design)
    assert effective_sample_size(effect, design) < 0.1


def test_sums_over_seeds_and_prompts() -> None:
    design = Design.of(["a", "a", "b", "c", "c"], ["x", "x", "x", "y", "y"])
    means = design.prompt_means([1, 0, 1, 0, 1])
    assert means.tolist() == [0.5, 1.0, 0.5]
    assert design.cluster_sums(means).tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: Design.of(["a"], []),
        lambda: Design.even(10, 11),
        lambda: Design.even(10, 0),
        lambda: Design.even(10, 5, 0),
        lambda: Design.of_sizes([]),
        lambda: Design.of_sizes([3, 0]),
        lambda: Design.even(10, 5).prompt_means([1.0]),
        lambda: Settings(assumed_correlation=1.5),
        lambda: Settings(confidence=95),
    ],
)
def test_impossible_samples_are_refused(call) -> None:
    with pytest.raises(SampleError):
        call()
