"""`validate`: the same prompts and seeds through the original and the hardened model, every picture judged.

Order matters: detectors are built first (a missing one is reported before any picture is made), then both
encoders are measured, then pictures are made in batches and judged; each row is on disk as soon as it is
scored, so that a killed run goes on where it stopped. The summary is written last, and an old one is removed
first: there is no moment at which a stale verdict lies beside new rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..detectors.detector_set import DetectorSet
from ..results.report import RESULTS, SUMMARY, Report
from ..results.rows import Row, RowFile
from ..verdict.gate import gates_of_policy
from . import plan as sets
from .embeddings import measure_encoders
from .generate import PictureMaker, Request, Settings, open_picture
from .images import change
from .keys import digest, encoder_states
from .plan import Item
from .run_attacks import resolve_attacks, run_attacks
from .subjects import Subjects, resolve

if TYPE_CHECKING:
    from ..models import HardenedModel, TextToImageModel
    from ..policy import Policy
    from ..prompts import PromptBook

DEFAULT_SEEDS = (0,)
SCORED_AT_ONCE = 64
Step = Callable[[str, int, int], None]
"""(what, done, total): told after every batch."""


def validate(
    original: TextToImageModel | str | Path | None,
    hardened: HardenedModel | TextToImageModel | str | Path,
    policy: Policy | str | Path | None = None,
    *,
    out: str | Path | None = None,
    n: int | Mapping[str, int] = 100,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    prompts: str | Path | None = None,
    attacks: Sequence[str] = (),
    encoder: Any = None,
    settings: Settings | None = None,
    book_seed: int | None = None,
    cache: str | Path | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: bool | Step = True,
) -> Report:
    """Measure a hardened model against its original.

    Args:
        original: a model or its name; None: the one that the run was made from.
        hardened: what `harden` returned, a model, or a run folder.
        policy: None: the run's own.
        out: report folder (pictures in ``images/``); None: the run's ``report/`` (``report-exported/`` with
            ``encoder``).
        n: distinct prompts a set, or by set (``{"unsafe": 300, "safe": 100}``).
        seeds: picture seeds; every prompt is drawn with each.
        prompts: the user's own, see `sets.read_prompts`.
        attacks: names of attacks to run on the unsafe prompts, see ``safetext attacks list``.
        encoder: an exported encoder to judge instead of the run's weights.
        settings: steps, guidance, size; absent ones are the model's own.
        book_seed: seed of the prompt book; None: the one that hardening used (with another the test prompts
            are not held out).
        cache: folder of pictures shared between runs.
        batch_size: pictures at once.
        progress: a bar on stderr, or a callable.

    Raises:
        MissingExtraError: a detector of the policy is not installed; nothing was generated.
        DetectorError: a detector is broken.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise errors.UsageError("seeds must be distinct, and at least one")
    from ..prompts import build_prompt_book

    resolve_attacks(attacks)  # a misspelt name is reported before anything is loaded or drawn
    own = sets.read_prompts(prompts) if prompts is not None else []
    subjects = resolve(original, hardened, policy, encoder=encoder, device=device)
    _refuse(own, subjects.policy)
    tier = "images" if subjects.original.reader.makes_pictures else "encoder"
    manifest = subjects.run.manifest if subjects.run is not None and subjects.run.finished else {}
    if book_seed is None:
        book_seed = int(manifest.get("seed", 0))
    book = build_prompt_book(subjects.policy, seed=book_seed, model=subjects.original.id)
    named = {u.concept for u in book.test.unsafe}
    detectors = (
        DetectorSet.build(subjects.policy, subjects.original.id, device, named) if tier == "images" else None
    )
    if out is None and subjects.run is None:
        raise errors.UsageError("no report folder: give out=")
    if out is None:
        # An exported file is another product than the run's own weights: its report does not replace theirs.
        out = subjects.run.report_dir if encoder is None else subjects.run.path / "report-exported"  # type: ignore[union-attr]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (SUMMARY, "junit.xml", "index.html"):
        (folder / stale).unlink(missing_ok=True)
    with _told(progress) as tell:
        try:
            return _validate(
                subjects,
                detectors,
                book,
                folder,
                tier,
                n,
                seeds,
                own,
                attacks,
                settings,
                book_seed,
                cache,
                batch_size,
                tell,
            )
        except KeyboardInterrupt as error:
            raise errors.InterruptedRun(
                f"stopped; what was made is in {folder}, and the same command goes on from there"
            ) from error


def _validate(
    subjects: Subjects,
    detectors: DetectorSet | None,
    book: PromptBook,
    folder: Path,
    tier: str,
    n: int | Mapping[str, int],
    seeds: Sequence[int],
    own: Sequence[sets.OwnPrompt],
    attacks: Sequence[str],
    settings: Settings | None,
    book_seed: int,
    cache: str | Path | None,
    batch_size: int,
    tell: Step,
) -> Report:
    policy, original, hardened = subjects.policy, subjects.original, subjects.hardened
    makers = {}
    if tier == "images":
        kept = Path(cache) if cache is not None else None
        makers = {
            name: PictureMaker(model, folder / "images", settings=settings, cache=kept, batch_size=batch_size)
            for name, model in (("original", original), ("hardened", hardened))
        }
    guided = bool(makers) and makers["original"].guided
    items = sets.build_items(
        policy,
        book,
        n=n,
        seeds=seeds,
        own=own,
        guided=guided,
        can_tell=detectors.can_tell if detectors else (lambda _: True),
    )
    by_set = {name: [i for i in items if i.set == name] for name in dict.fromkeys(i.set for i in items)}
    unsafe = by_set.get("unsafe", [])
    tell("encoders", 0, 1)
    states = encoder_states(
        original, hardened, list(dict.fromkeys(i.prompt for i in unsafe))[:16] or ["a gun on a table"]
    )
    own_unsafe = [i for i in by_set.get("custom", []) if i.label == "unsafe"]
    encoder_tier = measure_encoders(
        original, hardened, unsafe, by_set.get("safe", []), by_set.get("borderline", []), unpaired=own_unsafe
    )
    tell("encoders", 1, 1)
    attacked, entries = run_attacks(attacks, unsafe, subjects, tell) if attacks else ([], [])
    described = [entry.model_dump(mode="json") for entry in entries]
    items += attacked
    facts = _facts(
        subjects,
        detectors,
        tier,
        seeds,
        states,
        encoder_tier,
        items if makers else [],
        described,
        makers,
        guided,
        book_seed,
    )
    if not makers or detectors is None:
        return _finish(Report(facts, [], folder))
    rows = _pictures(items, makers, detectors, folder, tell)
    return _finish(Report(facts, rows, folder))


def _finish(report: Report) -> Report:
    """Rows, summary and pages; the verdict shown in the pages is that of the policy's own gates."""
    from ..report import write_report
    from ..verdict.gate import judge

    write_report(report, judge(report), github=False)
    return report


def _pictures(
    items: Sequence[Item],
    makers: Mapping[str, PictureMaker],
    detectors: DetectorSet,
    folder: Path,
    tell: Step,
) -> list[Row]:
    described = [entry.model_dump(mode="json") for entry in detectors.describe()]
    file = RowFile(folder / RESULTS)
    wanted: dict[str, tuple[str, Item]] = {}
    for model, maker in makers.items():
        for item in items:
            wanted[digest([maker.key(_request(item)), model, described, item.__dict__])[:32]] = (model, item)
    todo = [(key, *wanted[key]) for key in wanted if not _usable(file.rows.get(key), folder)]
    total, done = len(wanted), len(wanted) - len(todo)
    tell("pictures", done, total)
    chunk = max(SCORED_AT_ONCE, *(maker.batch_size * maker.workers for maker in makers.values()))
    for start in range(0, len(todo), chunk):
        part = todo[start : start + chunk]
        made = 0

        def count(pictures: int, before: int = done + start) -> None:
            nonlocal made
            made += pictures
            tell("pictures", before + made, total)

        for name, maker in makers.items():
            maker.ensure([_request(item) for _, model, item in part if model == name], count)
        file.add(_score(part, makers, detectors, folder))
        tell("pictures", done + start + len(part), total)
    rows = [file.rows[key] for key in wanted]
    file.rewrite(rows)  # in order, and without rows of other settings
    return rows


def _usable(row: Row | None, folder: Path) -> bool:
    return row is not None and (folder / row["image"]).is_file()


def _request(item: Item) -> Request:
    return Request(item.prompt, item.seed, item.negative_prompt)


def _score(
    part: Sequence[tuple[str, str, Item]],
    makers: Mapping[str, PictureMaker],
    detectors: DetectorSet,
    folder: Path,
) -> list[Row]:
    paths = [makers[model].path(_request(item)) for _, model, item in part]
    images = [open_picture(path) for path in paths]
    out = []
    for (key, model, item), path, image, found in zip(
        part, paths, images, detectors.score(images), strict=True
    ):
        asked = detectors.expected(item.prompt) if item.label != "unsafe" else ()
        goal = detectors.expected(item.anchor) if item.anchor else ()
        # Judged on the very numbers that are written down, so that a row can be checked later.
        scores = detectors.trim(found, [*asked, *goal])
        row: Row = {
            "key": key,
            "model": model,
            "set": item.set,
            "concept": item.concept,
            "prompt": item.prompt,
            "negative_prompt": item.negative_prompt,
            "seed": item.seed,
            "image": path.relative_to(folder).as_posix(),
            "scores": scores,
            "judges": detectors.versions,
            "unsafe": bool(detectors.unsafe(scores)),
            "shows": detectors.shows(scores, asked or goal),
            "label": item.label,
            "cluster": item.cluster,
            "anchor": item.anchor,
            "expected": list(asked),
            "kept": detectors.kept(scores, item.prompt) if asked else None,
            "anchor_shown": detectors.kept(scores, item.anchor) if item.anchor and goal else None,
        }
        if model == "hardened" and item.label != "unsafe":
            before = makers["original"].path(_request(item))
            row["change"] = change(open_picture(before), image) if before.is_file() else None
        out.append(row)
    return out


def _facts(
    subjects: Subjects,
    detectors: DetectorSet | None,
    tier: str,
    seeds: Sequence[int],
    states: Mapping[str, str],
    encoder_tier: Mapping[str, Any],
    items: Sequence[Item],
    attacks: list[dict[str, Any]],
    makers: Mapping[str, PictureMaker],
    guided: bool,
    book_seed: int,
) -> dict[str, Any]:
    from ..versions import own_version

    policy = subjects.policy
    overall, single = gates_of_policy(policy)
    manifest = subjects.run.manifest if subjects.run is not None and subjects.run.finished else {}
    plan: dict[str, int] = {}
    questions = {(i.set, i.prompt, i.negative_prompt, i.seed, i.anchor, i.concept) for i in items}
    for name in dict.fromkeys(i.set for i in items):
        plan[name] = sum(q[0] == name for q in questions)
    if tier == "images":
        plan = {"unsafe": 0, "safe": 0} | plan
    missing = []
    if tier == "encoder":
        missing.append(
            "pictures: a text encoder without a denoiser makes none; only the encoder tier was measured"
        )
    else:
        missing += [
            f"{name}: the policy has no such test prompts"
            for name in ("safe_unseen", "borderline")
            if not plan.get(name)
        ]
        if not guided:
            missing.append("negative prompts: this pipeline does not use them at its guidance")
        if detectors is not None and not any(
            detectors.expected(i.prompt) for i in items if i.label != "unsafe"
        ):
            missing.append("prompt fidelity: no judge of the policy can tell what a safe prompt should show")
    judged = (
        {a.concept for a in detectors.assignments}
        if detectors is not None
        else {c.id for c in policy.concepts}
    )
    missing += [
        f"the concept {c.id}: neither prompts nor a detector of the policy are for this model"
        for c in policy.concepts
        if c.id not in judged
    ]
    if manifest and (manifest.get("policy_sha256") != policy.sha256 or manifest.get("seed") != book_seed):
        missing.append(
            "held-out prompts: hardening used another policy or seed, so it may have seen some of these "
            "prompts"
        )
    if not attacks:
        missing.append("attacks: none was run")
    missing.append(
        "what no encoder can stop: prompt_embeds fed straight in, the original encoder put back, learned "
        "embeddings, later fine-tuning"
    )
    settings = makers["original"].settings.__dict__ if makers else None
    # Which file the verdict is about, where an exported encoder was judged in the place of the weights.
    exported = {
        n: e.sha256
        for n, e in subjects.hardened.encoders.items()
        if isinstance(getattr(e, "sha256", None), str)
    }
    return {
        "safetext_version": own_version(),
        "model": subjects.original.id,
        "policy": {
            "name": policy.name,
            "sha256": policy.sha256,
            "concepts": [c.id for c in policy.concepts],
            "gates": overall,
            "concept_gates": single,
        },
        "method": manifest.get("method"),
        "run": subjects.run.path.name if subjects.run is not None else None,
        "tier": tier,
        "seeds": list(seeds),
        "book_seed": book_seed,
        "settings": settings,
        "fingerprints": {name: digest(maker.fingerprint) for name, maker in makers.items()},
        "encoders": dict(states),
        **({"exported": exported} if exported else {}),
        "detectors": [e.model_dump(mode="json") for e in detectors.describe()] if detectors else [],
        "plan": plan,
        "attacks": attacks,
        "encoder_tier": dict(encoder_tier),
        "not_measured": missing,
    }


def _refuse(own: Sequence[sets.OwnPrompt], policy: Policy) -> None:
    from ..policy.minors import WHY, combines

    known = {c.id for c in policy.concepts}
    for row in own:
        if combines(row.prompt):
            raise errors.PolicyError(f"a prompt of yours {WHY}")
        if row.concept is not None and row.concept not in known:
            raise errors.PolicyError(
                f"your prompts name the concept {row.concept!r}",
                allowed=f"{', '.join(sorted(known))}, or null",
            )


@contextlib.contextmanager
def _told(progress: bool | Step) -> Iterator[Step]:
    """Someone to tell about progress: the caller's function, a bar on stderr, or nobody."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield step
