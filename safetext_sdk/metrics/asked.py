"""Metrics of pictures that somebody asks for: a policy, one of its gates, or a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UsageError
from ..typed_settings import checked
from . import METRICS
from .base import Metric
from .pictures import PictureMeasure

if TYPE_CHECKING:
    from ..policy.metric_spec import MetricSpec
    from ..policy.schema import Policy

By = Literal["policy", "call"]


@dataclass(frozen=True)
class Asked:
    """A metric of pictures that somebody asks for."""

    metric: Metric
    options: Mapping[str, Any]
    by: By

    @cached_property
    def kind(self) -> type[PictureMeasure[Any]]:
        """What takes it."""
        assert self.metric.pictures is not None
        return self.metric.pictures

    @cached_property
    def config(self) -> Any:
        """Its options, checked.

        Raises:
            UsageError: an unknown option, or a value out of range.
        """
        return checked(self.kind.Config, self.options, f"metric {self.metric.name}")


def named_metric(name: str) -> Metric:
    """A metric that is taken on request.

    Raises:
        UsageError: there is no such metric, or it is taken in every validation anyway.
    """
    metric = METRICS.get(name)
    if metric.pictures is None:
        raise UsageError(f"the metric {name} is taken in every validation: it need not be asked for")
    return metric


def asked_measures(policy: Policy, call: Mapping[str, Mapping[str, Any]], model: str) -> dict[str, Asked]:
    """Everything that policy, gates and call ask for, by name.

    Raises:
        UsageError: see `named_metric` and `Asked.config`; or the call changes options that the policy sets.
    """
    out: dict[str, Asked] = {}
    for spec in _of_model(policy, model):
        out[spec.name] = Asked(named_metric(spec.name), spec.options, "policy")
    gated = [name for gates in (policy.gates, *(c.gates for c in policy.concepts)) for name in gates]
    known = METRICS.names()
    for name in gated:
        if name in known and name not in out and METRICS.get(name).pictures is not None:
            out[name] = Asked(METRICS.get(name), call.get(name, {}), "policy")
    for name, options in call.items():
        set_ = out.get(name)
        if set_ is None:
            out[name] = Asked(named_metric(name), options, "call")
        elif options and dict(options) != dict(set_.options):
            raise UsageError(f"the policy says how {name} is measured: change its `metrics:`, not the call")
    for each in out.values():
        _ = each.config
    return out


def _of_model(policy: Policy, model: str) -> list[MetricSpec]:
    """A spec for this model comes before one for all."""
    own = [s for s in policy.metrics if s.models is not None and model in s.models]
    named = {s.name for s in own}
    return [*own, *(s for s in policy.metrics if s.models is None and s.name not in named)]


def chosen(metrics: Sequence[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Metrics by name, with their options, checked before anything is loaded.

    Raises:
        UsageError: see `named_metric` and `Asked.config`.
    """
    if isinstance(metrics, str):
        metrics = metrics.split(",")
    out = dict(metrics) if isinstance(metrics, Mapping) else {name: {} for name in metrics}
    for name, options in out.items():
        _ = Asked(named_metric(name), options, "call").config
    return out
