"""Judge profiles: what a name stands for, what its hash covers, and how a policy and a file name one."""

from __future__ import annotations

from pathlib import Path

import pytest

from safetext_sdk import load_policy
from safetext_sdk.detectors import nudenet
from safetext_sdk.errors import PolicyError, UsageError
from safetext_sdk.policy import policy_json_schema
from safetext_sdk.policy.judge_profiles import (
    JUDGE_PROFILES,
    judge_profile,
    published_profiles,
    read_profile,
)

POLICY = """\
version: 1
name: mine
concepts:
  - id: nudity
    terms: [bare]
    anchors: [a coat]
    detectors:
      - {line}
"""


def policy(folder: Path, line: str, **more: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(POLICY.format(line=line) + "".join(f"    {k}: {v}\n" for k, v in more.items()))
    return path


def test_published_sets_are_labels_that_nudenet_has() -> None:
    found = {p.name: p for p in published_profiles()}
    assert {"udatk-9@0.45", "nudenet-exposed@0.2", "eval-unlearn-6@0.5", "shipped-5@0.2"} <= set(found)
    for name, size in (("udatk-9@0.45", 9), ("eval-unlearn-6@0.45", 6), ("shipped-5@0.2", 5)):
        (spec,) = found[name].detectors
        assert len(set(spec.labels)) == len(spec.labels) == size
        assert set(spec.labels) <= set(nudenet.LABELS)
        assert found[name].source
    exposed = {label for label in nudenet.LABELS if label.endswith("_EXPOSED")}
    assert set(found["nudenet-exposed@0.2"].detectors[0].labels) == exposed


def test_the_shipped_set_is_that_of_the_shipped_policy() -> None:
    (concept, _) = load_policy("nudity").concepts
    line = next(d for d in concept.detectors if d.name == "nudenet")
    (spec,) = judge_profile("shipped-5").detectors
    assert (set(spec.labels), spec.threshold) == (set(line.labels), line.threshold)


def test_the_hash_is_of_what_decides() -> None:
    a = judge_profile("udatk-9@0.45")
    renamed = a.model_copy(update={"name": "other", "source": None, "concepts": ["weapon"]})
    (spec,) = a.detectors
    turned = a.model_copy(update={"detectors": [spec.model_copy(update={"labels": spec.labels[::-1]})]})
    assert a.sha256 == renamed.sha256 == turned.sha256
    fewer = a.model_copy(update={"detectors": [spec.model_copy(update={"labels": spec.labels[1:]})]})
    other = [judge_profile("udatk-9@0.6"), judge_profile("eval-unlearn-6@0.45"), fewer]
    other += [a.model_copy(update={"rule": "all"})]
    assert len({p.sha256 for p in [a, *other]}) == 5
    # Two names of one way to judge have one hash.
    assert judge_profile("udatk-9@0.2").sha256 == judge_profile("nudenet-exposed@0.2").sha256


def test_a_threshold_of_ones_own_says_so() -> None:
    assert "threshold of your own" in str(judge_profile("udatk-9@0.33").source)
    assert "Diffusion-MU-Attack" in str(judge_profile("udatk-9@0.45").source)


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        ("udtk-9@0.45", "did you mean udatk-9"),
        ("udatk-9", "names no threshold; published: udatk-9@0.45, udatk-9@0.6"),
        ("udatk-9@much", "names no threshold"),
        ("udatk-9@1.5", "outside of 0 to 1"),
        ("udatk-9@nan", "outside of 0 to 1"),
        ("q16@0.5", "needs the option weights"),
    ],
)
def test_names_that_are_none(ref: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        judge_profile(ref)


def test_a_policy_names_a_profile_and_is_the_policy_that_spells_it_out(tmp_path: Path) -> None:
    short = load_policy(policy(tmp_path, "{profile: shipped-5@0.2, models: [sd14]}"))
    labels = ", ".join(judge_profile("shipped-5").detectors[0].labels)
    long = load_policy(
        policy(tmp_path, f"{{name: nudenet, labels: [{labels}], threshold: 0.2, models: [sd14]}}")
    )
    assert short.sha256 == long.sha256
    again = tmp_path / "again.yaml"
    again.write_text(short.to_yaml())
    assert load_policy(again) == short
    with_options = load_policy(policy(tmp_path, "{profile: q16@0.9, options: {weights: q16.npy}}"))
    (spec,) = with_options.concepts[0].detectors
    assert (spec.threshold, spec.options["weights"]) == (0.9, "q16.npy")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{profile: udtk-9@0.45}", "did you mean udatk-9"),
        ("{profile: udatk-9@0.45, threshold: 0.1}", "takes models and options alone, not threshold"),
        ("{profile: tiny-weapon-both@0.5}", "detector_rule: all"),
        ("{profile: [udatk-9]}", "unknown set of labels"),
    ],
)
def test_lines_that_a_policy_must_not_have(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem) as caught:
        load_policy(policy(tmp_path, line))
    assert caught.value.line == 7


def test_a_profile_that_asks_all_is_taken_where_the_concept_does(tmp_path: Path) -> None:
    path = policy(tmp_path, "{profile: tiny-weapon-both@0.5}", detector_rule="all")
    assert load_policy(path).concepts[0].detector_rule == "all"


def test_a_profile_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nconcepts: [weapon]\nrule: all\n"
        "detectors:\n  - {name: tiny-judges, labels: [weapon], threshold: 0.9}\n"
    )
    assert read_profile(path).rule == "all"
    path.write_text("name: mine\nconcepts: [weapon]\ndetectors:\n  - {name: x, labls: [weapon]}\n")
    with pytest.raises(PolicyError, match=r"mine\.yaml:4: detectors\.0: .*did you mean 'labels'"):
        read_profile(path)
    with pytest.raises(PolicyError, match="cannot be read"):
        read_profile(tmp_path / "none.yaml")


def test_a_package_brings_its_own() -> None:
    sources = {e.name: e.source for e in JUDGE_PROFILES.entries()}
    assert sources["tiny-weapon"] == "built-in"  # the embedded package's, reached through the registry


def test_the_json_schema_knows_the_line() -> None:
    items = policy_json_schema()["$defs"]["Concept"]["properties"]["detectors"]["items"]["anyOf"]
    assert [next(iter(each)) for each in items] == ["$ref", "type"]
    assert items[1]["required"] == ["profile"]
