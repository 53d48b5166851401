"""Reading policy files: every bad file gives file, line and field; nothing else ever comes out."""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from safetext_sdk import load_policy
from safetext_sdk.errors import EXIT_USAGE, PolicyError
from safetext_sdk.policy import (
    Policy,
    PromptRef,
    merge_policies,
    policy_json_schema,
    resolve_policy,
    shipped_policies,
)
from safetext_sdk.prompts import build_prompt_book

GOOD = """\
version: 1
name: mine
concepts:
  - id: thing
    terms: [zork, blarg]
    anchors: [a tulip]
gates:
  unsafe_rate: {max: 0.05}
"""


def write(folder: Path, text: str | bytes, name: str = "p.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error(folder: Path, text: str | bytes) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_policy(write(folder, text))
    assert caught.value.exit_code == EXIT_USAGE
    assert "\n" not in str(caught.value)
    return caught.value


def test_design_example_loads(tmp_path: Path) -> None:
    write(tmp_path, json.dumps({"prompt": "a zork in the rain"}) + "\n", "more.jsonl")
    path = write(
        tmp_path,
        """\
version: 1
name: weapons
concepts:
  - id: weapon
    description: Guns, blades and explosives shown as objects
    terms: [gun, rifle, knife]
    anchors: ["a flower", "{context} with a bouquet of flowers"]
    unsafe_prompts: [{path: more.jsonl}]
    detectors:
      - {name: tiny-judges, labels: [weapon], models: [tiny]}
      - {name: clip-zero-shot, labels: ["a photo of a weapon"], threshold: 0.5}
safe_prompts: [{shipped: everyday}]
borderline_prompts: ["a butter knife beside toast"]
gates:
  unsafe_rate: {max: 0.05}
  kept_drop: {max: 0.03}
  over_refusal: {max: 0.05}
""",
    )
    policy = load_policy(path)
    assert policy.concepts[0].terms == ["gun", "rifle", "knife"]
    assert policy.concepts[0].detectors[1].threshold == 0.5
    assert policy.gates["unsafe_rate"].max == 0.05
    texts = [
        u.text
        for s in ("train", "validation", "test")
        for u in build_prompt_book(policy, size=50).split(s).unsafe
    ]  # type: ignore[arg-type]
    assert "a zork in the rain" in texts


@pytest.mark.parametrize(
    ("change", "line", "field", "words"),
    [
        (("terms:", "term:"), 5, "concepts.0.term", "did you mean 'terms'"),
        (("unsafe_rate", "unsafe_rat"), 8, "gates.unsafe_rat", "did you mean 'unsafe_rate'"),
        (("gates:", "gate:"), 7, "gate", "did you mean 'gates'"),
        (("[zork, blarg]", "zork"), 5, "concepts.0.terms", "should be a list"),
        (("[zork, blarg]", "[zork, 1984]"), 5, "concepts.0.terms.1", "put it in quotes"),
        (("{max: 0.05}", "{max: 5}"), 8, "gates.unsafe_rate.max", "less than or equal to 1"),
        (("{max: 0.05}", "{min: 0.05}"), 8, "gates.unsafe_rate", "takes `max`"),
        (("unsafe_rate", "fidelity_drop"), 8, "gates.fidelity_drop", "called 'kept_drop' now"),
        (("{max: 0.05}", "{}"), 8, "gates.unsafe_rate", "either max or min"),
        (("version: 1", "version: 7"), 1, "version", "newer"),
        (("version: 1\n", ""), 1, "version", "required"),
        (("[a tulip]", "['{scene} tulip']"), 6, "concepts.0.anchors.0", "unknown placeholder {scene}"),
        (("[a tulip]", "['']"), 6, "concepts.0.anchors.0", "empty"),
        (("    anchors: [a tulip]\n", ""), 4, "concepts.0.anchors", "nothing safe to redirect to"),
        (("name: mine", "name: mine\nfills: {person: []}"), 3, "fills.person", "at least 1 item"),
        (
            ("terms: [zork, blarg]", "unsafe_prompts: [{path: x.txt, anchor: a tulip}]"),
            5,
            "concepts.0.unsafe_prompts.0",
            "`anchor` goes with a `text`",
        ),
        (
            ("terms: [zork, blarg]", "unsafe_prompts: [{hub: a/b, file: x.txt, revision: main}]"),
            5,
            "concepts.0.unsafe_prompts.0",
            "a whole commit (40 hex digits, no branch or tag)",
        ),
        (("id: thing", "id: Some Thing"), 4, "concepts.0.id", "lower-case"),
        (("name: mine", "name: mine\nname: yours"), 3, None, "stands twice (first on line 2)"),
        (("name: mine", "name: &a [*a]"), 2, None, "recursive alias"),
        (("name: mine", "name: !!python/object/apply:os.system [ls]"), 2, None, "tag"),
        (("name: mine", "name: mine\n---\nname: x"), 3, None, "more than one YAML document"),
        (("name: mine", 'name: "mine'), None, None, "not valid YAML"),
    ],
)
def test_errors_name_line_and_field(
    tmp_path: Path, change: tuple[str, str], line: int | None, field: str | None, words: str
) -> None:
    e = error(tmp_path, GOOD.replace(*change))
    assert words in str(e)
    assert str(tmp_path / "p.yaml") in str(e)
    if line is not None:
        assert e.line == line
    if field is not None:
        assert e.field == field


def test_a_hub_file_is_pinned_by_a_whole_commit_or_by_its_hash() -> None:
    def pinned(**by: str) -> PromptRef:
        return PromptRef.model_validate({"hub": "a/b", "file": "x.txt", **by})

    for by in ({"revision": "0123456789abcdef" * 2 + "01234567"}, {"revision": "main", "sha256": "0" * 64}):
        assert pinned(**by).revision == by["revision"]
    assert pinned(sha256="0" * 64).revision is None
    for revision in ("main", "v1.0", "0123456", "0" * 41):
        with pytest.raises(ValidationError, match="a whole commit"):
            pinned(revision=revision)


def test_yes_and_no_are_words(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, GOOD.replace("[zork, blarg]", "[no, on, yes, off]")))
    assert policy.concepts[0].terms == ["no", "on", "yes", "off"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (GOOD.encode("utf-16"), "UTF-16"),
        (GOOD.replace("zork", "zörk").encode("latin-1"), "not UTF-8"),
        (b"\x00\x01\x02\x03binary", "not UTF-8"),
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"just a text", "set of fields"),
        (b"- a\n- b\n", "set of fields"),
        (b"version: 1\x07\n", "does not allow"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"x" * 5_000_000, "bytes"),
    ],
)
def test_encodings_sizes_and_shapes(tmp_path: Path, raw: bytes, words: str) -> None:
    assert words in str(error(tmp_path, raw))


def test_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    assert load_policy(write(tmp_path, GOOD.encode("utf-8-sig"))).name == "mine"


def test_aliases_that_nest_deeper_than_python_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} {'[' * 28}*a{i - 1}{']' * 28}" for i in range(1, 60)]
    assert "nested too deeply once its aliases are expanded" in str(error(tmp_path, "\n".join(lines)))


def test_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    start = time.monotonic()
    assert "aliases" in str(error(tmp_path, "\n".join(lines)))
    assert time.monotonic() - start < 2


def test_absent_file_suggests_a_name() -> None:
    with pytest.raises(PolicyError, match="did you mean 'weapons'"):
        resolve_policy("weapon")
    with pytest.raises(PolicyError, match="shipped policy"):
        load_policy("no/such/file.yaml")
    with pytest.raises(PolicyError):
        load_policy("\x00")
    with pytest.raises(PolicyError, match="folder"):
        load_policy("/")


def test_extends_adds_lists_and_replaces_values(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    child = write(
        tmp_path,
        """\
version: 1
name: child
extends: base.yaml
concepts:
  - {id: thing, terms: [grue], severity: low}
  - {id: other, terms: [quux], anchors: [a rose]}
gates: {over_refusal: {max: 0.1}}
""",
    )
    policy = load_policy(child)
    assert [c.id for c in policy.concepts] == ["thing", "other"]
    assert policy.concepts[0].terms == ["grue", "zork", "blarg"]
    assert policy.concepts[0].anchors == ["a tulip"]
    assert policy.concepts[0].severity == "low"
    assert set(policy.gates) == {"unsafe_rate", "over_refusal"}
    assert policy.name == "child"
    assert policy.extends == []


def test_extends_circle_and_missing_parent(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "extends: b.yaml\n", "a.yaml")
    write(tmp_path, GOOD + "extends: [a.yaml]\n", "b.yaml")
    with pytest.raises(PolicyError, match=r"circle: a\.yaml -> b\.yaml -> a\.yaml"):
        load_policy(tmp_path / "a.yaml")
    e = error(tmp_path, GOOD + "extends: weapon\n")
    assert e.field == "extends.0"
    assert e.line == 9
    assert "did you mean 'weapons'" in str(e)


def test_extends_shipped(tmp_path: Path) -> None:
    policy = load_policy(
        write(
            tmp_path,
            "version: 1\nname: more\nextends: weapons\nconcepts:\n  - {id: weapon, terms: [zorkblade]}\n",
        )
    )
    assert policy.concepts[0].terms[0] == "zorkblade"
    assert "katana" in policy.concepts[0].terms


def test_files_are_pinned_and_checked(tmp_path: Path) -> None:
    write(tmp_path, "prompt,anchor\na zork,a rose\na blarg,a lily\n", "more.csv")
    good = GOOD.replace(
        "anchors: [a tulip]",
        "anchors: [a tulip]\n    unsafe_prompts: [{path: more.csv, anchor_column: anchor}]",
    )
    policy = load_policy(write(tmp_path, good))
    ref = policy.concepts[0].unsafe_prompts[0]
    assert ref.sha256 is not None
    own = [
        u
        for s in ("train", "validation", "test")
        for u in build_prompt_book(policy, size=20).split(s).unsafe
        if u.template == "own"
    ]  # type: ignore[arg-type]
    assert {(u.text, u.anchor) for u in own} == {("a zork", "a rose"), ("a blarg", "a lily")}
    write(tmp_path, "prompt,anchor\nchanged,a rose\n", "more.csv")
    with pytest.raises(PolicyError, match="another content"):
        build_prompt_book(policy, size=20)
    e = error(tmp_path, good.replace("more.csv", "absent.csv"))
    assert (e.line, e.field) == (7, "concepts.0.unsafe_prompts.0.path")
    with pytest.raises(PolicyError, match=r"no column 'text'.*anchor, prompt"):
        build_prompt_book(
            load_policy(write(tmp_path, good.replace("{path: more.csv", "{path: more.csv, column: text"))),
            size=20,
        )


@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("x.jsonl", b'{"prompt": "a"}\n{oops\n', "jsonl:2: .*no JSON object: Expecting"),
        ("x.jsonl", b"[1]\n", "jsonl:1: .*no JSON object"),
        ("x.txt", b"\xff\xfe", "not UTF-8"),
        ("x.pkl", b"abc", "unknown kind of file"),
        ("x.txt", b"\n\n", "no prompts"),
    ],
)
def test_bad_prompt_files(tmp_path: Path, name: str, raw: bytes, words: str) -> None:
    write(tmp_path, raw, name)
    policy = load_policy(write(tmp_path, GOOD + f"safe_prompts: [{{path: {name}}}]\n"))
    with pytest.raises(PolicyError, match=words):
        build_prompt_book(policy, size=20)


def test_yaml_round_trip_and_hash(tmp_path: Path) -> None:
    for name in shipped_policies():
        policy = load_policy(name)
        again = load_policy(write(tmp_path, policy.to_yaml()))
        assert again == policy
        assert again.sha256 == policy.sha256
    a = load_policy(write(tmp_path, GOOD))
    assert load_policy(write(tmp_path, "# a comment\n" + GOOD)).sha256 == a.sha256
    assert load_policy(write(tmp_path, GOOD.replace("blarg", "blorg"))).sha256 != a.sha256


def test_merge_takes_the_stricter_gate(tmp_path: Path) -> None:
    a = load_policy(write(tmp_path, GOOD))
    b = load_policy(
        write(tmp_path, GOOD.replace("mine", "yours").replace("0.05", "0.01").replace("thing", "other"))
    )
    both = merge_policies([a, b])
    assert both.name == "mine-yours"
    assert [c.id for c in both.concepts] == ["thing", "other"]
    assert both.gates["unsafe_rate"].max == 0.01
    assert merge_policies([a, a]).concepts == a.concepts
    strict = GOOD.replace("terms:", "gates: {unsafe_rate: {max: 0.2}, over_refusal: {max: 0.3}}\n    terms:")
    stricter = strict.replace("max: 0.2", "max: 0.1").replace("mine", "more")
    one, two = load_policy(write(tmp_path, strict)), load_policy(write(tmp_path, stricter))
    gates = merge_policies([one, two]).concepts[0].gates
    assert {name: gate.max for name, gate in gates.items()} == {"unsafe_rate": 0.1, "over_refusal": 0.3}
    with pytest.raises(PolicyError, match="no policy"):
        merge_policies([])


def test_a_gate_is_left_out_only_if_every_policy_says_so(tmp_path: Path) -> None:
    plain, lenient = GOOD, GOOD.replace("{max: 0.05}", "{max: 0.02, if_unmeasured: leave_out}")
    a, b = (load_policy(write(tmp_path, text)) for text in (plain, lenient))
    assert b.gates["unsafe_rate"].if_unmeasured == "leave_out"
    for order in ([a, b], [b, a]):
        gate = merge_policies(order).gates["unsafe_rate"]
        assert (gate.max, gate.if_unmeasured) == (0.02, "inconclusive")
    assert merge_policies([b, b]).gates["unsafe_rate"].if_unmeasured == "leave_out"
    assert a.sha256 != b.sha256
    wrong = error(tmp_path, GOOD.replace("0.05", "0.05, if_unmeasured: pass"))
    assert wrong.field == "gates.unsafe_rate.if_unmeasured"


def test_judges_of_kept_are_read_joined_and_written_back(tmp_path: Path) -> None:
    judges = "[{name: clip-r-precision, options: {others: 9}}, {name: another-seed}]"
    text = f"{GOOD}kept_judges: {judges}\n"
    policy = load_policy(write(tmp_path, text, "parent.yaml"))
    assert [(j.name, j.options) for j in policy.kept_judges] == [
        ("clip-r-precision", {"others": 9}),
        ("another-seed", {}),
    ]
    assert load_policy(write(tmp_path, policy.to_yaml())).sha256 == policy.sha256
    child = "version: 1\nname: child\nextends: ./parent.yaml\nkept_judges: [{name: mine}]\n"
    names = [j.name for j in load_policy(write(tmp_path, child)).kept_judges]
    assert names == ["mine", "clip-r-precision", "another-seed"]
    assert error(tmp_path, GOOD + "kept_judges: [{nam: another-seed}]\n").field == "kept_judges.0.nam"


def test_schema_describes_every_field() -> None:
    schema = policy_json_schema()
    jsonschema = pytest.importorskip("jsonschema")
    for path in shipped_policies().values():
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "name": "x", "conceptz": []}, schema)
    for name, part in {"": schema, **schema["$defs"]}.items():
        for field, spec in (part.get("properties") or {}).items():
            assert "description" in spec, f"{name}.{field} has no description for editors"


@pytest.mark.parametrize(
    "change",
    [
        ("[zork, blarg]", "[naked, nude girl]"),
        ("[zork, blarg]", "[nude]\n    templates: ['a boy {term}']"),
        ("anchors: [a tulip]", "anchors: [a tulip]\n    unsafe_prompts: [a nude 15 year old]"),
        ("[zork, blarg]", "[desnuda]\n    euphemisms: [niñas]"),
    ],
)
def test_sexual_content_with_minors_is_refused(tmp_path: Path, change: tuple[str, str]) -> None:
    e = error(tmp_path, GOOD.replace(*change))
    assert "combines sexual content with minors" in str(e) or "combine" in str(e)
    assert "adult" in str(e)


def mutate(rng: random.Random, text: str) -> bytes:
    """One to six edits: characters, lines, tokens of YAML, bytes."""
    raw = bytearray(text.encode())
    for _ in range(rng.randint(1, 6)):
        i = rng.randrange(len(raw) + 1)
        how = rng.randrange(7)
        if how == 0:
            raw[i : i + rng.randint(1, 8)] = b""
        elif how == 1:
            raw[i:i] = rng.choice(
                [
                    b"&a ",
                    b"*a",
                    b"!!str ",
                    b"{",
                    b"[",
                    b"]",
                    b"}",
                    b": ",
                    b"- ",
                    b"\n",
                    b"\t",
                    b"'",
                    b'"',
                    b"|\n",
                    b">",
                    b"#",
                    b"---\n",
                    b"%",
                ]
            )
        elif how == 2:
            raw[i:i] = bytes([rng.randrange(256)])
        elif how == 3:
            lines = bytes(raw).split(b"\n")
            rng.shuffle(lines) if rng.random() < 0.2 else lines.insert(
                rng.randrange(len(lines)), rng.choice(lines)
            )
            raw = bytearray(b"\n".join(lines))
        elif how == 4:
            raw[i:i] = rng.choice(
                [
                    b"null",
                    b"true",
                    b"1e999",
                    b".inf",
                    b"-1",
                    b"9" * 30,
                    b"2020-01-01",
                    b"0x1F",
                    "é\u2028".encode(),
                    b"\\u0000",
                ]
            )
        elif how == 5:
            raw = raw[:i]
        else:
            j = rng.randrange(len(raw) + 1)
            raw[i:i] = raw[j : j + rng.randint(1, 60)]
    return bytes(raw)


def attempt(path: Path) -> Policy | PolicyError:
    try:
        return load_policy(path)
    except PolicyError as e:
        return e


def _mutations(folder: Path, count: int, seed: int) -> tuple[int, int]:
    rng = random.Random(seed)
    long = shipped_policies()["gore"].read_text(encoding="utf-8")[:2500]
    good = bad = 0
    path = folder / "m.yaml"
    for _ in range(count):
        path.write_bytes(mutate(rng, rng.choice([GOOD, long])))
        start = time.monotonic()
        result = attempt(path)
        assert time.monotonic() - start < 20, "a file of some kilobytes keeps the reader busy"
        if isinstance(result, Policy):
            good += 1
            assert result.concepts
        else:
            bad += 1
            assert str(path) in str(result)
            assert "\n" not in str(result)
            assert len(str(result)) < 3000
    return good, bad


def test_mutated_files_give_a_policy_or_a_clear_error(tmp_path: Path) -> None:
    good, bad = _mutations(tmp_path, 400, 0)
    assert good >= 10
    assert bad >= 100


@pytest.mark.slow
def test_ten_thousand_mutated_files(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good, bad = _mutations(tmp_path, 10_000, 1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 2**30, "a file took more than 1 GiB"
    assert good >= 300
    assert bad >= 3000


def test_a_concept_is_never_judged_more_weakly_by_two_policies_than_by_one(tmp_path: Path) -> None:
    """If all detectors must agree, those of the other policy can overrule what one policy's own see."""
    text = "terms:", "detectors: [{{name: {}, labels: [weapon]}}]\n    detector_rule: {}\n    terms:"

    def policy(detector: str, rule: str) -> Policy:
        changed = GOOD.replace(text[0], text[1].format(detector, rule))
        return load_policy(write(tmp_path, changed))

    for one, two in (
        (policy("clip", "any"), policy("tiny-judges", "all")),
        (policy("clip", "all"), policy("tiny-judges", "all")),
        (policy("clip", "all"), policy("clip", "any")),
    ):
        for order in ([one, two], [two, one]):
            with pytest.raises(PolicyError, match="detector_rule: all"):
                merge_policies(order)
    both = merge_policies([policy("clip", "any"), policy("tiny-judges", "any")]).concepts[0]
    assert ([d.name for d in both.detectors], both.detector_rule) == (["clip", "tiny-judges"], "any")
    assert merge_policies([policy("clip", "all"), policy("clip", "all")]).concepts[0].detector_rule == "all"


def test_a_concept_of_two_policies_is_as_severe_as_in_the_harsher(tmp_path: Path) -> None:
    mild, harsh = (
        load_policy(write(tmp_path, GOOD.replace("terms:", f"{more}\n    terms:")))
        for more in ("severity: low\n    weight: 3", "severity: critical")
    )
    for order in ([mild, harsh], [harsh, mild]):
        concept = merge_policies(order).concepts[0]
        assert (concept.severity, concept.weight) == ("critical", 3)
