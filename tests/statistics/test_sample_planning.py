"""How many prompts and clusters a gate needs."""

from __future__ import annotations

import pytest

from safetext_sdk.statistics import (
    Design,
    Goal,
    Interval,
    PairedTruth,
    SampleError,
    Settings,
    Truth,
    clusters_needed,
    paired_bounds,
    pass_probability,
    perfect_bound,
    prompts_needed,
    rate_bounds,
    to_decide,
)


@pytest.mark.parametrize(
    ("prompts", "clusters", "seeds"), [(100, 28, 1), (150, 28, 3), (90, 90, 2), (7, 3, 1)]
)
def test_a_perfect_bound_is_that_of_a_sample_without_hits(prompts: int, clusters: int, seeds: int) -> None:
    design = Design.even(prompts, clusters, seeds)
    keys = design.prompt_of.tolist()
    groups = design.cluster_of[design.prompt_of].tolist()
    nothing = [False] * len(keys)
    assert perfect_bound(design) == pytest.approx(rate_bounds(nothing, keys, groups).upper)
    assert perfect_bound(design) == pytest.approx(paired_bounds(nothing, nothing, keys, groups).upper)


@pytest.mark.parametrize("clusters", [20, 28, 50])
@pytest.mark.parametrize("threshold", [0.06, 0.1])
def test_the_fewest_prompts_suffice_and_one_less_does_not(clusters: int, threshold: float) -> None:
    need = prompts_needed(Goal(threshold), clusters)
    assert need is not None
    assert need.proves == perfect_bound(Design.even(need.prompts, clusters)) <= threshold
    assert need.passes == 1.0
    assert need.prompts == clusters or perfect_bound(Design.even(need.prompts - 1, clusters)) > threshold


def test_the_fewest_clusters_suffice_and_one_less_does_not() -> None:
    need = clusters_needed(Goal(0.05), prompts_per_cluster=5)
    assert need is not None
    assert need.prompts == 5 * need.clusters
    assert perfect_bound(Design.even(need.prompts - 5, need.clusters - 1)) > 0.05 >= need.proves


def test_seeds_are_planned_and_prove_nothing() -> None:
    once, thrice = (prompts_needed(Goal(0.06), 28, seeds) for seeds in (1, 3))
    assert once is not None
    assert thrice is not None
    assert (once.seeds, thrice.seeds) == (1, 3)
    assert (once.prompts, once.proves) == (thrice.prompts, pytest.approx(thrice.proves))


def test_few_clusters_never_suffice() -> None:
    assert prompts_needed(Goal(0.05), clusters=10) is None
    assert prompts_needed(Goal(0.05), clusters=1) is None
    assert prompts_needed(Goal(0.05), clusters=10, settings=Settings(assumed_correlation=0.0)) is not None


def test_a_model_that_sometimes_hits_needs_more() -> None:
    perfect, good, better = (
        clusters_needed(Goal(0.05, truth), 3) for truth in (Truth(0.0), Truth(0.01, 0.3), Truth(0.003, 0.3))
    )
    assert perfect is not None
    assert good is not None
    assert better is not None
    assert perfect.prompts < better.prompts < good.prompts
    assert good.passes >= 0.9 > pass_probability(Goal(0.05, Truth(0.01, 0.3)), Design.even(100, 33))


def test_a_margin_is_planned_like_a_rate() -> None:
    same = clusters_needed(Goal(0.03, PairedTruth(0.0, 0.0)), 3)
    assert same == clusters_needed(Goal(0.03), 3)
    noisy = clusters_needed(Goal(0.03, PairedTruth(0.01, 0.01)), 3)
    assert same is not None
    assert noisy is not None
    assert noisy.prompts > same.prompts
    assert noisy.passes >= 0.9


def test_power_at_the_threshold_is_the_promise() -> None:
    """A model a hair below the threshold passes hardly ever: at most 5 %."""
    for design in (Design.even(100, 28), Design.even(300, 50, 3)):
        assert pass_probability(Goal(0.1, Truth(0.0999, 0.3)), design) <= 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda: Goal(0.05, Truth(0.05)),
        lambda: Goal(0.0),
        lambda: Goal(1.0),
        lambda: Goal(0.05, power=1.0),
        lambda: Goal(0.03, PairedTruth(0.05, 0.01)),
        lambda: prompts_needed(Goal(0.05), 0),
        lambda: clusters_needed(Goal(0.05), 0),
    ],
)
def test_impossible_plans_are_refused(call) -> None:
    with pytest.raises(SampleError):
        call()


def sample(hits: int, prompts: int, clusters: int) -> Interval:
    keys = list(range(prompts))
    return rate_bounds([k < hits for k in keys], keys, [k % clusters for k in keys])


def test_what_would_decide_a_perfect_sample_is_what_a_plan_says() -> None:
    for prompts, clusters, threshold in ((100, 28, 0.05), (40, 40, 0.06), (90, 30, 0.045)):
        more = to_decide(sample(0, prompts, clusters), threshold, "max")
        need = prompts_needed(Goal(threshold), clusters)
        assert more is not None
        assert need is not None
        assert more.prompts == need.prompts
        # The mirror image: every picture is a hit, and most of them must be.
        assert to_decide(sample(prompts, prompts, clusters), 1 - threshold, "min") == more


def test_what_would_decide_is_about_enough_at_the_same_figure() -> None:
    """2 of 100 in 50 clusters against 6 %: so many prompts with 2 % hits pass, half as many do not."""
    more = to_decide(sample(2, 100, 50), 0.06, "max")
    assert more is not None
    assert more.prompts is not None
    enough = round(more.prompts / 50) * 50
    assert sample(round(0.02 * enough), enough, 50).upper <= 0.0605
    assert sample(round(0.01 * enough), enough // 2, 50).upper > 0.06


def test_a_figure_on_the_wrong_side_is_decided_by_failing() -> None:
    """8 of 100 in 50 clusters against 6 %: more prompts like these would fail."""
    found = sample(8, 100, 50)
    assert found.lower < 0.06 < found.value
    more = to_decide(found, 0.06, "max")
    assert more is not None
    wider = sample(round(0.08 * more.clusters * 2), more.clusters * 2, more.clusters)
    assert wider.lower > 0.058


def test_few_clusters_are_not_mended_by_prompts() -> None:
    more = to_decide(sample(0, 160, 16), 0.05, "max")
    assert more is not None
    assert more.prompts is None
    assert perfect_bound(Design.even(more.clusters * 10, more.clusters)) <= 0.05
    assert perfect_bound(Design.even((more.clusters - 1) * 10, more.clusters - 1)) > 0.05


def test_where_nothing_can_be_said_nothing_is() -> None:
    assert to_decide(Interval(0.0, 0.0, 0.1, 10), 0.05, "max") is None, "it rests on nothing known"
    assert to_decide(sample(5, 100, 50), 0.05, "max") is None, "it stands on the threshold"
    assert to_decide(sample(0, 5, 1), 0.05, "max") is None, "one cluster is worth nothing"
