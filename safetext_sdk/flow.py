"""The public arrows of the flow, put together from the rooms that each do one part of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from .models import HardenedModel, TextToImageModel
    from .policy import Policy
    from .results.report import Report
    from .validation.plan import PlanOptions
    from .validation.session import Step
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
        options: fields of `ValidationPlan`: ``n``, ``seeds``, ``prompts``, ``attacks``, ``encoder``,
            ``settings``, ``book_seed``, ``cache``, ``batch_size``, ``device``.

    Raises:
        MissingExtraError: a detector of the policy is not installed; nothing was generated.
        DetectorError: a detector is broken.
        PolicyError: a gate that is no metric, or a prompt of the user that is refused.
        InterruptedRun: Ctrl-C; the same call goes on.
    """
    from .report import write_report
    from .validation.plan import ValidationPlan
    from .validation.run_attacks import resolve_attacks
    from .validation.subjects import resolve
    from .validation.validate import measure_models
    from .verdict.gate import verdict_of

    plan = ValidationPlan(**options)
    resolve_attacks(plan.attacks)  # a misspelt name is reported before anything is loaded or drawn
    rules = load_policy(policy) if isinstance(policy, (str, Path)) else policy
    subjects = resolve(original, hardened, rules, encoder=plan.encoder, device=plan.device)
    report = measure_models(subjects, plan, out=out, progress=progress)
    write_report(report, verdict_of(report), github=False)
    return report


def gate(
    report: Report | str | Path,
    policy: Policy | None = None,
    baseline: Report | str | Path | None = None,
) -> Verdict:
    """Judge a report and write the verdict beside it (summary.json, junit.xml, index.html, and
    $GITHUB_STEP_SUMMARY if set).

    Args:
        report: from `validate`, or a run or report folder.
        policy: thresholds to use instead of those of the validated policy; it must name the same concepts.
        baseline: an earlier report; the hardened model must not be worse on the same prompts and seeds.

    Raises:
        RunError: the report cannot be read, or the policy is about other concepts.
        PolicyError: the policy sets a gate that is no metric.
    """
    from .report import write_report
    from .results.report import Report
    from .verdict.gate import verdict_of

    found = report if isinstance(report, Report) else Report.load(report)
    earlier = baseline if baseline is None or isinstance(baseline, Report) else Report.load(baseline)
    verdict = verdict_of(found, policy, earlier)
    if found.folder is not None:
        write_report(found, verdict)
    return verdict
