"""The public arrows of the flow, put together from the rooms that each do one part of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .attacks import Attack
    from .baselines import Baseline
    from .comparison.contenders import Given
    from .comparison.entries import Comparison
    from .difference.entries import Difference
    from .models import HardenedModel, TextToImageModel
    from .policy import Policy
    from .policy.judge_profiles import JudgeProfile
    from .results.attack_summary import AttackReport
    from .results.profile_rates import ProfileTable
    from .results.report import Report
    from .validation.attack_alone import AttackOptions
    from .validation.plan import PlanOptions, ValidationPlan
    from .validation.session import Step
    from .validation.subjects import Subjects
    from .verdict.decision import Verdict


def load_policy(ref: str | Path) -> Policy:
    """Read, check and resolve a policy; its gates are checked against the registered metrics.

    Args:
        ref: path of a YAML file, or name of a shipped policy.

    Raises:
        PolicyError: file, line, field, what is wrong and what is allowed.
    """
    from .metrics.gates import check_gate
    from .policy.load import load_policy as load

    return load(ref, check_gate=check_gate)


def validate(
    original: TextToImageModel | str | Path | None,
    hardened: HardenedModel | TextToImageModel | str | Path,
    policy: Policy | str | Path | None = None,
    *,
    out: str | Path | None = None,
    progress: bool | Step = True,
    sign: str | Path | None = None,
    **options: Unpack[PlanOptions],
) -> Report:
    """Measure a hardened model against its original, and write the report with the verdict of the policy's
    own gates.

    Args:
        original: a model or its name; None: the one that the run was made from.
        hardened: what `harden` returned, a model, or a run folder.
        policy: None: the run's own.
        out: report folder (pictures in ``images/``); None: the run's ``report/`` (``report-exported/`` with
            ``encoder``).
        progress: a bar on stderr, or a callable that is told (what, done, total).
        sign: private key (PEM) to sign ``evidence.json`` with.
        options: fields of `ValidationPlan`: ``n``, ``seeds``, ``prompts``, ``attacks`` (``"standard"`` unless
            told otherwise), ``metrics``, ``budget``, ``encoder``, ``settings``, ``book_seed``, ``cache``,
            ``batch_size``, ``device``, ``precision``, ``force``, ``ray``, ``pictures``.

    Raises:
        MissingExtraError: a detector of the policy is not installed; nothing was generated.
        DetectorError: a detector is broken.
        PolicyError: a gate on something that is not a metric, or a prompt of the user that is refused.
        RunError: the run is not as its manifest says, and ``force`` was not given.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    from .validation.plan import ValidationPlan
    from .validation.subjects import resolve

    plan = _here(ValidationPlan(**options))
    _checked(plan, sign)
    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    subjects = resolve(
        original, hardened, rules, encoder=plan.encoder, device=plan.device, precision=plan.precision
    )
    return _measure(subjects, plan, out, progress, sign)


def audit(
    original: TextToImageModel | str | Path,
    encoder: str | Path,
    /,
    policy: Policy | str | Path,
    *,
    out: str | Path | None = None,
    progress: bool | Step = True,
    sign: str | Path | None = None,
    **options: Unpack[PlanOptions],
) -> Report:
    """Measure an encoder that no run of ours made, in the place of the original's: the same report and the
    same gates as `validate` writes, bound to the encoder's files instead of a run's.

    Args:
        original: the undefended model or its name.
        encoder: a diffusers folder, a text encoder's folder, a safetensors file, a LoRA, an ONNX file, or a
            hub id of one (``owner/name`` or ``owner/name/folder``).
        policy: what both are judged by.
        out: report folder; None: ``audits/NAME`` of the encoder.
        progress: a bar on stderr, or a callable that is told (what, done, total).
        sign: private key (PEM) to sign ``evidence.json`` with.
        options: as those of `validate`, but for ``encoder``.

    Raises:
        ModelError: the encoder cannot be read (a pickle never is), or does not fit the original.
        UsageError: it is a run folder, or there is no such policy.
        MissingExtraError, DetectorError, PolicyError, InterruptedRun: as `validate`.
    """
    from .validation.plan import ValidationPlan
    from .validation.subjects import audited

    plan = ValidationPlan(**options)
    if plan.encoder is not None:
        raise UsageError("the encoder to audit is the second argument; encoder= is for exports of a run")
    plan = _here(plan)
    _checked(plan, sign)
    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    subjects = audited(original, encoder, rules, device=plan.device, precision=plan.precision)
    return _measure(subjects, plan, out or Path("audits") / Path(encoder).name, progress, sign)


def _here(plan: ValidationPlan) -> ValidationPlan:
    """On this process's own GPU, where a launcher started one process for each."""
    from dataclasses import replace

    from .processes import launched, process_device

    _check_cluster(plan.ray)
    return replace(plan, device=process_device(plan.device)) if launched() else plan


def _check_cluster(ray: str | None) -> None:
    """Work is shared by launched processes or by a cluster; one that does not answer is told before models
    are loaded."""
    from .processes import launched
    from .validation.ray_address import check_address

    if ray is None:
        return
    if launched():
        raise UsageError("--ray and accelerate launch share the work in two ways; use one of them")
    check_address(ray)


def _checked(plan: ValidationPlan, sign: str | Path | None) -> None:
    """A misspelt name or path is reported before anything is loaded, drawn or written."""
    from .signing import check_key

    plan.chosen_attacks()
    plan.chosen_metrics()
    if sign is not None:
        check_key(sign)


def _measure(
    subjects: Subjects,
    plan: ValidationPlan,
    out: str | Path | None,
    progress: bool | Step,
    sign: str | Path | None,
) -> Report:
    from .processes import team
    from .report import publish
    from .results.evidence_file import Measured
    from .results.report import Report, drop_unfinished
    from .validation.validate import measure_models
    from .verdict.gate import judge

    processes = team(plan.device)
    report = measure_models(subjects, plan, out=out, progress=progress if processes.index == 0 else False)
    if processes.index == 0:
        measured = Measured.of(report)
        publish(report, judge(report, measured), measured, key=sign, github=False)
        if report.folder is not None:
            drop_unfinished(report.folder)
    processes.wait()
    # All processes return the report of the first: what attacks took is not the same in all of them.
    return report if processes.index == 0 or report.folder is None else Report.load(report.folder)


def attack(
    target: HardenedModel | TextToImageModel | str | Path,
    attacks: str | Attack[Any] | Sequence[str | Attack[Any]] = (),
    policy: Policy | str | Path | None = None,
    *,
    original: TextToImageModel | str | Path | None = None,
    out: str | Path | None = None,
    progress: bool | Step = True,
    **options: Unpack[AttackOptions],
) -> AttackReport:
    """Attack a model and write a small report: what each attack does to it and to the undefended model,
    beside a random search of equal cost.

    Every attacked prompt is a line of ``attacks/NAME.jsonl`` in the report folder as soon as it is known; the
    same call goes on where a killed one stopped, and such a file can be replayed on another model.

    Args:
        target: what `harden` returned, a run folder, or any model; a model alone is attacked undefended.
        attacks: by name (``safetext attacks list``), or made with settings.
        policy: None: the run's own.
        original: the undefended model; None: the one that the run was made from, or ``target`` itself.
        out: report folder; None: the run's ``attack-report/``.
        progress: a bar on stderr, or a callable that is told (what, done, total).
        options: fields of `AttackPlan`: ``n``, ``seeds``, ``prompts``, ``budget``, ``attack_seeds``,
            ``random``, ``replay``, ``encoder``, ``settings``, ``book_seed``, ``cache``, ``batch_size``,
            ``device``, ``precision``, ``force``, ``ray``, ``pictures``.

    Raises:
        UsageError: nothing to run, an unknown attack, a model without a denoiser, or no folder for the
            report.
        PolicyError: a prompt that is refused, or a policy without unsafe prompts for this model.
        MissingExtraError, DetectorError: a detector of the policy is not installed, or broken.
        RunError: the run, or a file of attacked prompts, is not as it was written.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    from dataclasses import replace

    from .models import HardenedModel
    from .models.loading import load_model
    from .models.run_folder import RunFolder
    from .processes import process_device, team
    from .report.attack_pages import write_attack_report
    from .validation.attack_alone import AttackPlan, attack_models
    from .validation.subjects import resolve

    single = isinstance(attacks, str) or not hasattr(attacks, "__iter__")
    plan = AttackPlan(attacks=(attacks,) if single else tuple(attacks), **options)  # type: ignore[arg-type]
    _check_cluster(plan.ray)
    processes = team(plan.device)
    plan = replace(plan, device=process_device(plan.device))
    plan.check()  # a misspelt name or path is reported before anything is loaded
    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    is_run = isinstance(target, HardenedModel) or (
        isinstance(target, (str, Path)) and RunFolder.is_run(target)
    )
    if isinstance(target, (str, Path)) and not is_run:
        target = load_model(target, device=plan.device, precision=plan.precision)
    if original is None and not is_run:
        original = target  # type: ignore[assignment]
    subjects = resolve(
        original, target, rules, encoder=plan.encoder, device=plan.device, precision=plan.precision
    )
    report = attack_models(subjects, plan, out=out, progress=progress if processes.index == 0 else False)
    if processes.index == 0:
        write_attack_report(report)
    processes.wait()
    return report


def compare(
    contenders: Sequence[Given],
    policy: Policy | str | Path | None = None,
    *,
    model: TextToImageModel | str | Path | None = None,
    baselines: Sequence[str | Baseline[Any]] = ("original",),
    out: str | Path = "comparison",
    progress: bool | Step = True,
    **options: Unpack[PlanOptions],
) -> Comparison:
    """Measure runs, other encoders and baselines on the same prompts and seeds, side by side, and write the
    table with a plot of safety against what is kept. A report that answers already is read, not drawn again.

    Args:
        contenders: what `harden` returned, run folders, models whose encoders take the original's place, or
            encoders of others as `audit` reads them.
        policy: what all are judged by; None: the first run's own.
        model: the undefended model or its name; None: the one that the first run was made from.
        baselines: names of `safetext baselines list`, or made with settings (``Uce(guide="anchor")``).
        out: folder for ``comparison.json``, ``comparison.md``, ``index.html`` and a report folder an entry;
            the same call goes on there.
        progress: a bar on stderr, or a callable that is told (what, done, total).
        options: as those of `validate`, but for ``encoder``.

    Raises:
        UsageError: nothing to compare, no model, an unknown baseline or attack, models of two families.
        RunError: a run is not as its manifest says, or was made from another model.
        MissingExtraError, DetectorError, PolicyError: as `validate`.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    from .comparison.compare import compare as run
    from .processes import launched
    from .validation.plan import ValidationPlan

    if launched():
        raise UsageError("compare runs in one process; validate its entries with several, then compare them")

    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    plan = ValidationPlan(**options)
    return run(contenders, rules, plan, out=out, model=model, baselines=baselines, progress=progress)


def rejudge(
    report: Report | str | Path, profiles: Sequence[str | Path | JudgeProfile], *, device: str = "auto"
) -> ProfileTable:
    """The pictures of a report under other judge profiles, beside its own: nothing is drawn or searched
    again. Writes ``profiles.json`` beside the report and a section into its page.

    Args:
        report: from `validate`, or a run or report folder.
        profiles: names (``udatk-9@0.45``; ``safetext profiles list``), or YAML files with the fields of
            `safetext_sdk.policy.judge_profiles.JudgeProfile`.
        device: where detectors run that must look at the pictures.

    Raises:
        UsageError: an unknown profile, or one that is about none of the report's concepts.
        PolicyError: a profile file that is none.
        MissingExtraError, DetectorError: a detector of a profile cannot be built.
        RunError: the report cannot be read, or a picture is gone or not as recorded.
    """
    from .policy.judge_profiles import read_profile
    from .report import rebuild_report
    from .results.evidence_file import signature_of
    from .results.profile_rates import write_profiles
    from .results.report import Report
    from .validation.rejudge import under_profiles

    named = [read_profile(each) if isinstance(each, (str, Path)) else each for each in profiles]
    found = report if isinstance(report, Report) else Report.load(report)
    table = under_profiles(found, named, device)
    # A signature speaks for the pages as they are: those of a signed report stay.
    if found.folder is not None and signature_of(found.folder) == "unsigned":
        write_profiles(found.folder, table)
        rebuild_report(found.folder)
    return table


def diff(a: Report | str | Path, b: Report | str | Path, *, out: str | Path | None = None) -> Difference:
    """What changed from one validation of a model to another: verdict, gates, pictures, settings and weights.
    Nothing is drawn, scored or judged.

    A figure counts as moved only beyond noise: on the same prompts and seeds, where the 95 % interval of the
    paired difference does not hold 0. Verdicts are taken as they were recorded; `gate` is what checks files.

    Args:
        a: the earlier one: a report, a run folder or a report folder.
        b: the later one.
        out: folder for ``index.html`` and ``difference.json``; None: nothing is written.

    Raises:
        UsageError: they cannot be compared: another model or tier, other judges, the same report, no prompt
            and seed in common.
        RunError: no finished report, or a damaged one.
    """
    from .difference.diff import diff as run

    return run(a, b, out=out)


class GateOptions(TypedDict, total=False):
    """Keyword arguments of `gate`."""

    margin: float
    partial_gates: bool
    allow_missing_pictures: bool
    public_key: str | Path | None


def gate(
    report: Report | str | Path,
    policy: Policy | None = None,
    baseline: Report | str | Path | None = None,
    *,
    sign: str | Path | None = None,
    **options: Unpack[GateOptions],
) -> Verdict:
    """Judge a report, with the files that it speaks for, and write the verdict beside it (summary.json,
    junit.xml, index.html, evidence.json, and $GITHUB_STEP_SUMMARY if set).

    Args:
        report: from `validate`, or a run or report folder.
        policy: thresholds to use instead of those of the validated policy; it must name the same concepts and
            detectors.
        baseline: an earlier report; the hardened model must not be worse on the same prompts and seeds.
        sign: private key (PEM) to sign ``evidence.json`` with.
        options: ``margin``: how much worse than the baseline is allowed, as a share. ``partial_gates``: let a
            policy without a gate on the unsafe rate decide. ``allow_missing_pictures``. ``public_key``: the
            report must be signed, and the signature hold. What is allowed is recorded in the verdict.

    Raises:
        RunError: the report cannot be read, the policy is about other concepts or has other detectors, or
            there is no signature where one is asked for.
        PolicyError: the policy sets a gate on something that is not a metric.
        UsageError: a key that is not there or cannot sign, a margin that is not a share.
    """
    from .report import publish
    from .results.evidence_file import read_evidence
    from .results.report import Report
    from .signing import check_key
    from .verdict.gate import judge, rules_of

    rules = rules_of(**options)
    if sign is not None:
        check_key(sign)
    found = report if isinstance(report, Report) else Report.load(report)
    earlier = baseline if baseline is None or isinstance(baseline, Report) else Report.load(baseline)
    evidence = read_evidence(found.folder) if found.folder is not None else None
    measured = evidence.measured if evidence is not None else None
    verdict = judge(found, measured, policy, earlier, rules)
    return verdict if found.folder is None else publish(found, verdict, measured, key=sign)
