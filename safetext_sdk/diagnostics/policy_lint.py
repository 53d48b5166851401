"""What is wrong with a policy that loads: what would make a verdict meaningless, and what is worth a look.

Errors: unsafe anchors, one text on both sides, gates that no result can pass, too few prompts for a gate,
unknown detectors, sexual content with minors (refused on loading already). Everything else is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import PolicyError, UsageError
from ..models.languages import languages_of
from ..policy.concept import Concept
from ..policy.languages import UNSPACED
from ..policy.minors import refuse_minors
from ..policy.schema import Policy
from ..prompts.build import build_prompt_book
from ..prompts.prompt_book import PromptBook, UnsafePrompt
from ..prompts.words import WholeWords
from .findings import Finding
from .gate_lint import gate_findings

MIN_HELD_OUT_WORDS = 5
_CROSSED_SAMPLE = 500
"""Prompts of a concept, of train and test each, whose anchors are compared with other concepts."""


def lint_policy(policy: Policy, *, model: str | None = None, seed: int = 0) -> list[Finding]:
    """All findings, errors first.

    Args:
        policy: a loaded policy. model, seed: as for `build_prompt_book`, which is built once to count
            prompts.
    """
    try:
        refuse_minors(policy)
    except PolicyError as error:
        return [Finding("error", "minors", error.field or "concepts", error.problem)]
    found = [*_texts(policy), *_concepts(policy), *_kept_judges(policy), *_metrics(policy), *_missing(policy)]
    try:
        book = build_prompt_book(policy, seed=seed, model=model, languages=languages_of(model))
    except PolicyError as error:
        found.append(Finding("error", "prompts", error.field or "concepts", str(error)))
    else:
        found += [*_held_out(policy, book), *gate_findings(policy, book)]
    return sorted(found, key=lambda f: f.level)


def require_clean(findings: list[Finding], file: str) -> None:
    """Raise a PolicyError that counts the errors, if there are any.

    Raises:
        PolicyError: with the first error.
    """
    errors = [f for f in findings if f.level == "error"]
    if errors:
        more = f" [and {len(errors) - 1} more]" if len(errors) > 1 else ""
        raise PolicyError(f"{errors[0].message}{more}", file=file, field=errors[0].where)


def _error(code: str, where: str, message: str) -> Finding:
    return Finding("error", code, where, message)


def _warning(code: str, where: str, message: str) -> Finding:
    return Finding("warning", code, where, message)


def _texts(policy: Policy) -> Iterator[Finding]:
    """Texts on both sides, and anchors that are unsafe themselves."""
    unsafe = {t.casefold(): c.id for c in policy.concepts for t in c.all_words}
    unsafe.update({r.text.casefold(): c.id for c in policy.concepts for r in c.unsafe_prompts if r.text})
    words = WholeWords(w for c in policy.concepts for w in c.all_words)
    for name in ("safe_prompts", "borderline_prompts"):
        for k, ref in enumerate(getattr(policy, name)):
            if ref.text is None:
                continue
            if owner := unsafe.get(ref.text.casefold()):
                message = f"{ref.text!r} is an unsafe prompt of {owner!r} as well"
                yield _error("overlap", f"{name}.{k}", message)
            elif name == "safe_prompts" and (hit := words.search(ref.text)):
                message = f"{ref.text!r} names {hit!r}: should it stand under borderline_prompts?"
                yield _warning("names-unsafe", f"{name}.{k}", message)
    for i, concept in enumerate(policy.concepts):
        where = f"concepts.{i}"
        for k, text in enumerate(concept.near_misses):
            if text.casefold() in unsafe:
                yield _error("overlap", f"{where}.near_misses.{k}", f"{text!r} is an unsafe prompt as well")
        yield from _anchors(concept, where, words)


def _anchors(concept: Concept, where: str, words: WholeWords) -> Iterator[Finding]:
    anchors = [(f"anchors.{k}", a) for k, a in enumerate(concept.anchors)]
    for model, own in concept.anchors_for.items():
        anchors += [(f"anchors_for.{model}.{k}", a) for k, a in enumerate(own)]
    for k, ref in enumerate(concept.unsafe_prompts):
        anchors += [(f"unsafe_prompts.{k}.anchor", ref.anchor)] if ref.anchor else []
    for field, anchor in anchors:
        if hit := words.search(anchor):
            message = f"the anchor {anchor!r} names {hit!r}, which is unsafe itself"
            yield _error("unsafe-anchor", f"{where}.{field}", message)


def _concepts(policy: Policy) -> Iterator[Finding]:
    owner: dict[str, str] = {}
    for i, concept in enumerate(policy.concepts):
        where = f"concepts.{i}"
        if not concept.anchors and (
            concept.terms or any(not r.brings_anchors for r in concept.unsafe_prompts)
        ):
            message = f"the concept {concept.id!r} has terms but no anchor to redirect them to"
            yield _error("no-anchor", f"{where}.anchors", message)
        for word in concept.all_words:
            first = owner.setdefault(word.casefold(), concept.id)
            if first != concept.id:
                message = f"{word!r} stands in {first!r} and in {concept.id!r}"
                yield _warning("same-term", f"{where}.terms", message)
        for language, words in concept.translations.items():
            short = [w for w in words if len(w) == 1] if language in UNSPACED else []
            if short:
                message = (
                    f"{short[0]!r} is one character, which stands in other words as well: write a longer one"
                )
                yield _warning("short-term", f"{where}.translations.{language}", message)
        if not concept.description:
            message = f"say what belongs to {concept.id!r} and what does not"
            yield _warning("no-description", f"{where}.description", message)
        yield from _detectors(concept, where)


def _detectors(concept: Concept, where: str) -> Iterator[Finding]:
    from ..detectors import DETECTORS

    if not concept.detectors:
        message = f"no detector looks for {concept.id!r}: its pictures cannot be scored"
        yield _warning("no-detector", f"{where}.detectors", message)
    elif all(d.models for d in concept.detectors):
        models = ", ".join(sorted({m for d in concept.detectors for m in d.models or []}))
        yield _warning("no-detector", f"{where}.detectors", f"{concept.id!r} can only be scored on {models}")
    for k, spec in enumerate(concept.detectors):
        if spec.name not in DETECTORS.names():
            try:
                DETECTORS.get(spec.name)
            except UsageError as error:
                yield _error("unknown-detector", f"{where}.detectors.{k}.name", str(error))
    if concept.detector_rule == "all" and len(concept.detectors) > 1:
        message = "with `all`, a picture that only one detector finds unsafe counts as safe"
        yield _warning("lenient-rule", f"{where}.detector_rule", message)


def _kept_judges(policy: Policy) -> Iterator[Finding]:
    from ..detectors.kept import KEPT_JUDGES

    for k, spec in enumerate(policy.kept_judges):
        try:
            KEPT_JUDGES.get(spec.name)
        except UsageError as error:
            yield _error("unknown-kept-judge", f"kept_judges.{k}.name", str(error))


def _metrics(policy: Policy) -> Iterator[Finding]:
    from ..metrics.asked import Asked, named_metric

    for k, spec in enumerate(policy.metrics):
        try:
            _ = Asked(named_metric(spec.name), spec.options, "policy").config
        except UsageError as error:
            yield _error("metric", f"metrics.{k}", str(error))


def _missing(policy: Policy) -> Iterator[Finding]:
    """Parts of the policy without which something cannot be measured."""
    if not policy.safe_prompts:
        message = "no safe prompts: nothing proves that the model still draws. Add {shipped: everyday}"
        yield _warning("no-safe", "safe_prompts", message)
    if not policy.borderline_prompts:
        message = "no borderline prompts: over-refusal cannot be measured"
        yield _warning("no-borderline", "borderline_prompts", message)
    if not policy.gates:
        yield _warning("no-gates", "gates", "no gates: nothing can pass")


def _held_out(policy: Policy, book: PromptBook) -> Iterator[Finding]:
    """Concepts whose words the test says too little about, and anchors that another concept calls unsafe."""
    for i, concept in enumerate(policy.concepts):
        where = f"concepts.{i}"
        tested = [u for u in book.test.unsafe if u.concept == concept.id]
        trained = [u for u in book.train.unsafe if u.concept == concept.id]
        if not tested and not trained:
            continue  # a model with a small world, which has no words for it
        held = {u.synonym for u in tested}
        if not tested:
            message = f"{concept.id!r} has too few words and templates to hold any out for a test"
            yield _warning("nothing-held-out", f"{where}.terms", message)
        elif len(held) < MIN_HELD_OUT_WORDS:
            message = (
                f"only {len(held)} held-out words of {concept.id!r}: the test says little about other words"
            )
            yield _warning("few-words", f"{where}.terms", message)
        rows = trained[:_CROSSED_SAMPLE] + tested[:_CROSSED_SAMPLE]
        yield from _crossed(concept, where, policy, rows)


def _crossed(concept: Concept, where: str, policy: Policy, rows: list[UnsafePrompt]) -> Iterator[Finding]:
    """An anchor prompt that another concept calls unsafe (after composition)."""
    for other in policy.concepts:
        if other.id == concept.id:
            continue
        words = WholeWords(w for w in other.words if len(w) > 2)
        hit = next((r.anchor for r in rows if words.search(r.anchor)), None)
        if hit is not None:
            message = f"the anchor prompt {hit!r} of {concept.id!r} names a word of {other.id!r}"
            yield _warning("crossed-anchor", f"{where}.anchors", message)
