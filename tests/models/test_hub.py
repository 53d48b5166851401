"""Models from a hub: the resolved revision, safetensors only, the cache, and downloads that break off. The
hub is a server of this test.

The hub client reads its environment when it is imported, so its constants are set here; one test starts a
process with the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetext_cli.main import run as cli
from safetext_exporters import export
from support.hardening_case import POLICY
from support.hub import COMMIT, Hub, serving
from support.minis import build_sd1

from safetext_sdk.errors import ModelError
from safetext_sdk.models import load_model

WEIGHTS = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository: the pipeline, a half-precision copy and a pickle beside its encoder."""
    folder = build_sd1(tmp_path_factory.mktemp("hub") / "mini")
    (folder / "text_encoder" / "model.fp16.safetensors").write_bytes(b"never read")
    torch.save({}, folder / "text_encoder" / "pytorch_model.bin")
    return folder


@pytest.fixture
def repository(mini: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mini, tmp_path / "repository"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a client that may use the network and does not wait between its tries."""
    folder = tmp_path / "home" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Point the client at a hub."""

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return point


def load(revision: str | None = None) -> Any:
    return load_model("someone/mini", device="cpu", precision="fp32", revision=revision)


def error_line(capsys: pytest.CaptureFixture[str], out: Path, model: str = "someone/mini") -> str:
    """The one line that a failed command ends with; exit code 3; no run folder."""
    capsys.readouterr()
    assert cli(["harden", "-p", "weapons", "-m", model, "-o", str(out), "--device", "cpu"]) == 3
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert said.rstrip().endswith(lines[0])
    assert not out.exists()
    return lines[0]


def test_the_commit_is_recorded_and_the_cache_serves_without_the_hub(
    repository: Path, home: Path, reach: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        first = load()
        fetched = hub.fetched()
    assert first.source.revision == COMMIT
    assert first.source.path.name == COMMIT
    assert first.source.path.is_relative_to(home)
    assert WEIGHTS in fetched
    assert "text_encoder/pytorch_model.bin" not in fetched
    assert "text_encoder/model.fp16.safetensors" not in fetched  # the full weights are there
    assert not any(
        name.startswith(("vae/", "unet/diffusion")) for name in fetched
    )  # pictures were not asked for
    wanted = load_model(repository, device="cpu", precision="fp32").encode(["a gun"]).flat()
    assert torch.equal(first.encode(["a gun"]).flat(), wanted)
    for revision, offline in ((None, False), ("main", False), (COMMIT, False), (None, True)):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        again = load(revision)
        assert again.source.files == first.source.files
        assert again.source.revision == COMMIT
        assert torch.equal(again.encode(["a gun"]).flat(), wanted)


def test_hardening_writes_the_resolved_commit_into_the_manifest(
    repository: Path, home: Path, reach: Any, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    arguments = [
        "harden",
        "-p",
        str(tmp_path / "policy.yaml"),
        "-m",
        "someone/mini",
        "-o",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    ]
    arguments += [
        "--steps",
        "2",
        "--set",
        "train.prompts=8",
        "--set",
        "train.batch_size=2",
        "--set",
        "train.wide_safe=0",
        "--quiet",
    ]
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        assert cli(arguments) == 0
    source = json.loads((tmp_path / "run" / "manifest.json").read_text())["source"]
    assert (source["id"], source["revision"]) == ("someone/mini", COMMIT)
    assert WEIGHTS in source["files"]
    # The run folder finds its original again in the cache, at that very commit, with the hub gone.
    assert load_model(tmp_path / "run", device="cpu").source.revision == COMMIT


def test_the_denoiser_is_fetched_when_it_is_asked_for(
    repository: Path, home: Path, reach: Any, tmp_path: Path
) -> None:
    (repository / "safety_checker").mkdir()
    (repository / "safety_checker" / "model.safetensors").write_bytes(b"never fetched")
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        model = load()
        assert not list(model.source.path.glob("unet/*.safetensors"))
        exported = export(model, "diffusers", out=tmp_path / "whole", whole=True).path
        pipe = model.pipeline()
        fetched = hub.fetched()
    assert (
        exported / "unet" / "diffusion_pytorch_model.safetensors"
    ).is_file()  # the whole is whole, whatever was there before
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert pipe.text_encoder is model.encoders["text_encoder"]
    assert {"unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"} <= fetched
    assert not any(
        name.endswith((".bin", ".fp16.safetensors")) or name.startswith("safety_checker/") for name in fetched
    )


def test_a_half_precision_copy_is_taken_where_there_is_nothing_else(
    repository: Path, home: Path, reach: Any
) -> None:
    (repository / WEIGHTS).rename(repository / "text_encoder" / "model.fp16.safetensors")
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        assert "text_encoder/model.fp16.safetensors" in load().source.files
    assert "text_encoder/model.fp16.safetensors" in load().source.files  # and from the cache


def test_a_repository_with_a_pickle_only_is_refused_and_it_is_not_fetched(
    repository: Path, home: Path, reach: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / WEIGHTS).unlink()
    (repository / "text_encoder" / "model.fp16.safetensors").unlink()
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        line = error_line(capsys, tmp_path / "run")
        asked = {name for _, name in hub.asked}
    assert "someone/mini: text_encoder/pytorch_model.bin is a pickle" in line
    assert "never downloaded" in line
    assert "convert it once" in line
    assert "text_encoder/config.json" in asked
    assert "text_encoder/pytorch_model.bin" not in asked
    assert not list(home.rglob("*.bin"))


@pytest.mark.parametrize("offline", [True, False], ids=["told offline", "hub down"])
def test_without_hub_and_cache_three_ways_out_are_named(
    home: Path,
    reach: Any,
    tmp_path: Path,
    offline: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    reach("http://127.0.0.1:9")  # nothing listens there
    line = error_line(capsys, tmp_path / "run")
    for way in ("cache", "local folder", "HF_ENDPOINT"):
        assert way in line


@pytest.mark.parametrize("fault", ["cut", "drop"])
def test_a_download_that_breaks_off_leaves_no_half_model(
    repository: Path,
    home: Path,
    reach: Any,
    tmp_path: Path,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(Hub(repository, **{fault: WEIGHTS})) as hub:
        reach(hub.url)
        line = error_line(capsys, tmp_path / "run")
    assert "the download of someone/mini broke off" in line
    assert "same command again" in line
    assert not list(home.rglob("model.safetensors"))  # no name that a loader would take
    # With the hub gone, what is there is not taken for a model; with the hub back, the rest is fetched.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "three ways out" in error_line(capsys, tmp_path / "run")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    (snapshot,) = (home / "models--someone--mini" / "snapshots").iterdir()
    kept = {p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()}
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        assert load().source.revision == COMMIT
        assert WEIGHTS in hub.fetched()
        assert not kept & hub.fetched()


def test_what_the_hub_does_not_have(
    repository: Path, home: Path, reach: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        assert "the hub has no model 'some/other'" in error_line(capsys, tmp_path / "run", "some/other")
        with pytest.raises(ModelError, match="someone/mini has no revision 'v9'"):
            load("v9")


def test_the_environment_names_the_hub(repository: Path, tmp_path: Path) -> None:
    code = "from safetext_sdk.models.source import resolve\nprint(resolve('someone/mini').revision)"
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HF_", "HUGGING")) and "proxy" not in k.lower()
    }
    with serving(Hub(repository)) as hub:
        env |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300
        )
    assert done.stdout.strip() == COMMIT, done.stderr
    assert (tmp_path / "home" / "hub" / "models--someone--mini" / "snapshots" / COMMIT / WEIGHTS).is_file()


def test_an_encoder_of_others_in_a_subfolder(repository: Path, home: Path, reach: Any, mini: Path) -> None:
    from safetext_sdk.models.given_encoders import read_given

    shutil.copytree(repository / "text_encoder", repository / "unlearned")
    (repository / "pickled").mkdir()
    torch.save({}, repository / "pickled" / "pytorch_model.bin")
    original = load_model(mini, device="cpu", precision="fp32")
    with serving(Hub(repository)) as hub:
        reach(hub.url)
        given = read_given("someone/mini/unlearned", original)
        with pytest.raises(ModelError, match=r"pickled/pytorch_model.bin is a pickle.*safetext convert"):
            read_given("someone/mini/pickled", original)
        fetched = hub.fetched()
    assert given.revision == COMMIT
    assert given.form == "text encoder folder"
    assert "unlearned/model.safetensors" in fetched
    assert not any(name.startswith(("unet/", "text_encoder/")) for name in fetched)
    state = given.encoders["text_encoder"].state_dict()
    own = original.encoders["text_encoder"].state_dict()
    assert all(state[key].equal(value) for key, value in own.items())
    assert not list(home.rglob("*.bin"))
