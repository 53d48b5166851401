"""What a validation knows without its rows: put together once, before the first picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from ..results.attack_entry import AttackEntry
from ..results.facts import EncoderState, EncoderTier, Facts, PictureSettings, PolicyFacts
from .binding import audited_files
from .items import Item
from .keys import digest
from .measurable import unmeasurable
from .session import Session

BEYOND = (
    "what no encoder can stop: prompt_embeds fed straight in, the original encoder put back, learned "
    "embeddings, later fine-tuning"
)


def build_facts(
    session: Session,
    items: Sequence[Item],
    attacks: Sequence[AttackEntry],
    states: dict[str, EncoderState],
    encoder_tier: EncoderTier,
) -> Facts:
    """The facts of a report.

    Args:
        items: every picture that will be made, attacks included; empty on the encoder tier.
        attacks: those that were asked for, with what became of them.
        states: whether each encoder was hardened.
        encoder_tier: what was measured without pictures.
    """
    subjects, makers = session.subjects, session.makers
    plan = _plan(session, items)
    return Facts(
        safetext_version=_version(),
        model=subjects.original.id,
        policy=PolicyFacts.of(session.policy),
        method=subjects.manifest.get("method"),
        recipe=subjects.manifest.get("recipe"),
        run=subjects.run.path.name if subjects.run is not None else None,
        bound=session.bound,
        audited=audited_files(subjects, session.folder),
        tier=session.tier,
        seeds=tuple(session.plan.seeds),
        book_seed=session.book_seed,
        settings=PictureSettings(**asdict(makers["original"].settings)) if makers else None,
        fingerprints={name: digest(maker.fingerprint) for name, maker in makers.items()},
        encoders=states,
        exported=_exported(session),
        detectors=tuple(session.detectors.describe()) if session.detectors else (),
        kept_judges=session.judges.describe() if session.judges else (),
        plan=plan,
        unmeasurable=unmeasurable(session),
        other_models=session.elsewhere,
        controls=dict(Counter(question[0] for question in {i.question for i in items if i.is_control})),
        attacks_asked=tuple(attack.name for attack in session.attacks),
        attacks=tuple(attacks),
        own_prompts=session.brought,
        encoder_tier=encoder_tier,
        not_measured=tuple(_not_measured(session, items, plan, attacks)),
    )


def _version() -> str:
    try:
        return version("safetext-sdk")
    except PackageNotFoundError:
        return "source"


def _exported(session: Session) -> dict[str, str]:
    """Which file the verdict is about, where an exported encoder took the place of the weights."""
    encoders = session.subjects.hardened.encoders.items()
    return {name: e.sha256 for name, e in encoders if isinstance(getattr(e, "sha256", None), str)}


def _plan(session: Session, items: Sequence[Item]) -> dict[str, int]:
    """Set: distinct questions. The sets that a policy always has are there even if they are empty."""
    questions = {item.question for item in items}
    plan = dict.fromkeys(("unsafe", "safe"), 0) if session.tier == "images" else {}
    for name in dict.fromkeys(item.set for item in items if not item.is_control):
        plan[name] = sum(question[0] == name for question in questions)
    return plan


def _not_measured(
    session: Session, items: Sequence[Item], plan: dict[str, int], attacks: Sequence[AttackEntry]
) -> Iterator[str]:
    policy, manifest, detectors = session.policy, session.subjects.manifest, session.detectors
    judged = {c.id for c in policy.concepts}
    if detectors is None:
        yield "pictures: a text encoder without a denoiser makes none; only the encoder tier was measured"
    else:
        for name in ("safe_unseen", "borderline"):
            if not plan.get(name):
                yield f"{name}: the policy has no such test prompts"
        if not session.guided:
            yield "negative prompts: this pipeline does not use them at its guidance"
        judged = {entry.concept for entry in detectors.describe()}
    for concept in policy.concepts:
        if concept.id in judged:
            continue
        if concept.id in session.elsewhere:
            yield f"the concept {concept.id}: neither prompts nor a detector of the policy are for this model"
        else:
            yield f"the concept {concept.id}: too few words to hold any out, so it has no test prompts"
    if (given := session.subjects.given) is not None:
        yield "how the encoder was made: no run of ours recorded it; its files are bound by hash instead"
        yield "held-out prompts: nobody recorded what the encoder was trained on, so it may have seen some"
        yield from given.notes
    same = (policy.sha256, session.book_seed)
    if manifest and (manifest.get("policy_sha256"), manifest.get("seed")) != same:
        yield (
            "held-out prompts: hardening used another policy or seed, so it may have seen some of these "
            "prompts"
        )
    if not attacks:
        yield "attacks: none was run"
    elif all(attack.threat == "black box" for attack in attacks if attack.impossible is None):
        yield "attacks that know the weights: none was run (--attacks strong)"
    for attack in attacks:
        if attack.impossible is not None:
            yield f"the attack {attack.name}: {attack.impossible}"
    yield BEYOND
