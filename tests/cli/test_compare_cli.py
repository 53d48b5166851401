"""safetext compare: its options, and a whole comparison on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetext_cli.compare import baselines, split
from safetext_cli.main import run

from safetext_sdk.errors import UsageError


def test_names_and_settings_of_baselines() -> None:
    assert split(["a, b", "c"]) == ["a", "b", "c"]
    made = baselines(["uce", "esd", "uce"], ["esd.steps=3", "uce.guide=anchor"])
    assert [b.name for b in made] == ["uce", "esd"]
    assert (made[0].config.guide, made[1].config.steps) == ("anchor", 3)
    every = [b.name for b in baselines(["all"], [])]
    assert every[0] == "original"
    assert {"negative-prompt", "filter", "safree", "uce", "esd"} <= set(every)
    with pytest.raises(UsageError, match=r"--set safree\.alpha: write BASELINE"):
        baselines(["uce"], ["safree.alpha=1"])


def test_a_comparison_of_the_embedded_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "--model", "tiny", "--policy", "weapons", "--baseline", "original", "--n", "2"]
    command += ["--out", str(tmp_path / "out"), "--attacks", "none"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (entry,) = found["entries"]
    assert entry["figures"]["unsafe"]["n"] == 2
    assert found["detectors"]
    assert run([*command[:-1], "no-such-attack"]) == 2
    assert "no-such-attack" in capsys.readouterr().err
    assert run(["compare", "--baseline", "original"]) == 2
    assert "no model: name one" in capsys.readouterr().err
