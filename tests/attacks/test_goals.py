"""Goals of token searches on miniature pipelines of every family: true gradients and true distances."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import minis
from support.attack_case import shaken
from support.recent_minis import RECENT, build_by_hand
from torch import Tensor

from safetext_sdk.attacks.conditioning_objective import ConditioningObjective, Goal
from safetext_sdk.attacks.denoiser_calls import record, why_not
from safetext_sdk.attacks.denoiser_goal import SamePrediction
from safetext_sdk.attacks.encoder_goals import NearConcept, NearConditioning, concept_vector, pooled
from safetext_sdk.attacks.token_rows import TokenRows
from safetext_sdk.errors import ModelError
from safetext_sdk.models.cross_attention import read_by, text_metric
from safetext_sdk.models.families import Conditioning
from safetext_sdk.search.candidates import SLOT, Templates, candidates

PROMPTS = ["A gun, with a flower", "a photo of a knife"]
FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd1": minis.build_sd1,
    "sdxl": minis.build_sdxl,
    "sd3": minis.build_sd3,
    "flux": minis.build_flux,
}


def goals(original: Any) -> dict[str, Goal]:
    """Every goal that this family can have."""
    found: dict[str, Goal] = {
        name: NearConditioning.to_prompts(original, PROMPTS, name)  # type: ignore[arg-type]
        for name in ("flat", "position", "pooled")
    }
    found["concept"] = NearConcept(
        original.encode(PROMPTS).flat() + 3 * concept_vector(original, [("a gun", "a flower")])
    )
    found["denoiser"] = SamePrediction.to_prompts(original, PROMPTS, seed=1, times=2)
    if original.family in ("sd1", "sdxl"):
        found["attention"] = NearConditioning.to_prompts(original, PROMPTS, "attention")
    return found


def load(family: str, folder: Path) -> Any:
    from safetext_sdk.models import load_model

    model = load_model(FAMILIES[family](folder / family), device="cpu")
    (folder / family / "generation.json").write_text('{"num_inference_steps": 3, "height": 16, "width": 16}')
    return model


@pytest.fixture(scope="module", params=list(FAMILIES))
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A model and a changed one, in double precision."""
    original = load(request.param, tmp_path_factory.mktemp("goals"))
    for module in (*original.encoders.values(), *original.pipeline().components.values()):
        if isinstance(module, torch.nn.Module):
            module.double()
    original.dtype = torch.float64
    return original, shaken(original, encoder=next(iter(original.encoders)))


@pytest.fixture(scope="module")
def rows(models: tuple[Any, Any]) -> TokenRows:
    usable = candidates(next(iter(models[1].tokenizers.values())))
    words = dict(zip(usable.ids.tolist(), usable.words, strict=True))
    forms = Templates(tuple(f"{SLOT} {SLOT} {prompt}" for prompt in PROMPTS), words)
    return TokenRows(models[1], forms, (int(usable.ids[0]), int(usable.ids[-1])))


@contextlib.contextmanager
def nudged(encoder: Any, position: int, by: Tensor) -> Iterator[None]:
    """While it lasts, the embedding at one position is moved."""

    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[0, position] += by
        return output

    weight = encoder.get_input_embeddings().weight
    modules = [m for m in encoder.modules() if getattr(m, "weight", None) is weight]
    handles = [module.register_forward_hook(hook) for module in modules]
    yield
    for handle in handles:
        handle.remove()


def test_gradients_agree_with_finite_differences(models: tuple[Any, Any], rows: TokenRows) -> None:
    """One token's embedding is moved a little towards another's, in every encoder of the vocabulary."""
    row, slot = torch.tensor([1]), 1
    allowed = candidates(next(iter(models[1].tokenizers.values()))).ids[[3]]
    place = rows.free[row, slot].view(1, 1)
    tokens = rows.tokens(rows.ids[row], row)
    for name, goal in goals(models[0]).items():
        objective = ConditioningObjective(rows, goal)
        got = float(objective.first_order(rows.ids[row], row, place, allowed))
        losses = []
        for step in (1e-4, -1e-4):
            with contextlib.ExitStack() as moved:
                for encoder in rows.shared:
                    table, position = rows.table(encoder), int(rows.places[encoder][row, slot])
                    by = table[allowed[0]] - table[int(tokens[encoder]["input_ids"][0, position])]
                    moved.enter_context(nudged(models[1].encoders[encoder], position, step * by))
                losses.append(float(objective.loss(rows.ids[row], row)))
        want = (losses[0] - losses[1]) / 2e-4
        assert got == pytest.approx(want, rel=1e-3, abs=1e-9), name
        assert got != 0, name
        assert losses[0] > 0, name
        cost = 1 + goal.cost
        assert objective.passes.tolist() == [0, 4 * cost], name


def test_the_original_is_at_every_goal_but_the_concept(models: tuple[Any, Any]) -> None:
    original = models[0]
    every = torch.arange(2)
    for name, goal in goals(original).items():
        far = goal.far(original.encode(PROMPTS), original.tokenize(PROMPTS), every)
        assert (far.abs() < 1e-9).all() == (name != "concept"), name
        swapped = goal.far(original.encode(PROMPTS[::-1]), original.tokenize(PROMPTS[::-1]), every)
        assert (swapped > 1e-9).all(), name


def test_a_recorded_call_asked_again_says_the_same(models: tuple[Any, Any]) -> None:
    """With the prompts' own conditioning the denoiser predicts what it predicted in the pipeline's run."""
    original = models[0]
    pipe = original.pipeline()
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    said: list[Tensor] = []
    handle = denoiser.register_forward_hook(lambda m, i, o: said.append(o[0].detach()))
    calls = record(original, PROMPTS, seed=3, times=3)
    handle.remove()
    run = [s[-2:] for s in said if len(s) in (2, 4)][-3:]  # probes of one prompt and of two come first
    got = calls.predict(torch.tensor([1, 0]), torch.tensor([0, 2]), original.encode(PROMPTS[::-1]))
    assert got.dtype == torch.float64
    for row, prompt in enumerate((1, 0)):
        for column, step in enumerate((0, 2)):
            assert torch.allclose(got[row, column], run[step][prompt], rtol=1e-6, atol=1e-8)


def test_the_attention_metric_is_what_keys_and_values_see(models: tuple[Any, Any]) -> None:
    original = models[0]
    pipe = original.pipeline()
    if original.family not in ("sd1", "sdxl"):
        with pytest.raises(ModelError, match="does not read text by cross-attention alone"):
            text_metric(original)
        return
    root = text_metric(original)
    x = torch.randn(3, len(root), generator=torch.Generator().manual_seed(0))
    seen = torch.zeros(3)
    for name, module in pipe.unet.named_modules():
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            seen += (x.double() @ module.weight.double().T).square().sum(-1).float()
    ratio = (x @ root).square().sum(-1) / seen
    assert torch.allclose(ratio, ratio.mean().expand(3), rtol=1e-3)
    assert float((root @ root.T).trace()) == pytest.approx(1, rel=1e-4)


def test_pooling_is_the_encoders_own(models: tuple[Any, Any]) -> None:
    original = models[0]
    tokens = original.tokenize(PROMPTS)
    got = pooled(original.encode(PROMPTS), tokens, original.reader)
    if original.family == "sd1":
        own = original.encoders["text_encoder"](tokens["text_encoder"]["input_ids"]).pooler_output
        assert torch.allclose(got, own)
    else:
        assert torch.equal(got, original.encode(PROMPTS).tensors["pooled_prompt_embeds"])


@pytest.mark.parametrize("name", ["zimage", "qwenimage", "qwenimage21", "lumina2", "flux2-dev"])
def test_where_a_sequence_is_pooled_lies_the_last_token(tmp_path: Path, name: str) -> None:
    """The encoder's embeddings at the last token alone are moved: what is pooled moves, and of all that comes
    before it, which a causal encoder read earlier, nothing does."""
    from safetext_sdk.models import load_model

    model = load_model((RECENT.get(name) or build_by_hand(name)[0])(tmp_path / name), device="cpu")
    tokens = model.tokenize(PROMPTS)
    parts = tokens["text_encoder"]
    mask = parts["attention_mask"].bool()
    last = torch.tensor([int(row.nonzero().max()) for row in mask])
    other = parts["input_ids"].clone()
    other[[0, 1], last] = other[[0, 1], last - 1] + 1
    changed = {"text_encoder": {**parts, "input_ids": other}}
    before, after = model.condition(tokens), model.condition(changed)
    own = pooled(before, tokens, model.reader)
    assert not torch.isclose(own, pooled(after, changed, model.reader)).all(1).any()
    sequence = before.tensors["prompt_embeds"]
    for row in range(2):
        (place,) = (sequence[row] == own[row]).all(1).nonzero()[:, 0].tolist()
        moved = (sequence[row] != after.tensors["prompt_embeds"][row]).any(1)
        assert moved.nonzero()[0] == place


def test_models_that_no_prediction_can_be_asked_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetext_sdk.models import load_model

    plain = load_model(minis.build_plain_clip(tmp_path / "clip"), device="cpu")
    with pytest.raises(ModelError, match="without a denoiser"):
        record(plain, PROMPTS, seed=0, times=1)
    assert read_by(None) is None
    assert why_not(plain) == f"{plain.id} is a text encoder without a denoiser; it makes no pictures"
    assert why_not(load("flux", tmp_path)) is None
    other = load("sd1", tmp_path)
    assert why_not(other) is None
    strange = Conditioning({"prompt_embeds": torch.ones(1, 77, 32)})
    monkeypatch.setattr(other, "encode", lambda prompts: strange)
    assert "is not given prompt_embeds as the encoders make it" in str(why_not(other))
