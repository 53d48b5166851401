"""results.jsonl and summary.json: what is written is what is read, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.gate_case import becomes_unsafe, first, passing, row, with_rows

from safetext_sdk.errors import RunError
from safetext_sdk.metrics.summary import summarise
from safetext_sdk.results.report import Report
from safetext_sdk.results.rows import ResultRow, RowFile, read_rows, write_rows
from safetext_sdk.results.schemas import results_schema, summary_schema
from safetext_sdk.results.summary import Summary


@pytest.fixture
def saved(tmp_path: Path) -> Report:
    report = replace(passing(20), folder=tmp_path)
    report.save(summarise(report))
    return report


def test_a_report_comes_back_from_any_of_its_places(saved: Report, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = replace(saved, folder=run / "report")
    report.save(summarise(report))
    for place in (run, run / "report", run / "report" / "summary.json"):
        again = Report.load(place)
        assert (again.facts, again.rows, again.folder) == (report.facts, report.rows, run / "report")
    with pytest.raises(RunError, match="holds no finished report"):
        Report.load(tmp_path / "nowhere")


def test_files_follow_their_published_schemas(saved: Report, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    rows = jsonschema.Draft202012Validator(results_schema())
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == len(saved.rows)
    for line in lines:
        rows.validate(json.loads(line))
    good = json.loads(lines[0])
    assert not rows.is_valid({**good, "unsafe": "no"})
    assert not rows.is_valid({**good, "invented": 1})
    assert not rows.is_valid({k: v for k, v in good.items() if k != "scores"})
    assert not rows.is_valid({**good, "scores": {"toy/a": {"weapon": 1.5}}})
    summary = json.loads((tmp_path / "summary.json").read_text())
    schema = jsonschema.Draft202012Validator(summary_schema())
    schema.validate(summary)
    assert not schema.is_valid({**summary, "verdict": "green"})
    assert not schema.is_valid({k: v for k, v in summary.items() if k != "metrics"})
    assert summary_schema()["$id"] == "urn:safetext:summary:2"
    assert all("description" in p for p in results_schema()["properties"].values())


def test_every_field_of_every_type_is_documented() -> None:
    for schema in (results_schema(), summary_schema()):
        for name, part in {"": schema, **schema["$defs"]}.items():
            for field, found in part.get("properties", {}).items():
                assert found.get("description"), f"{name}.{field}"


def test_an_older_report_is_refused_in_one_line(saved: Report, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    summary = json.loads(path.read_text())
    for older, said in (
        ({**summary, "schema_version": 1}, "of schema 1, this version reads schema 2; validate again"),
        ({"verdict": "pass"}, "no summary of a report"),
        ([1], "no summary of a report"),
    ):
        path.write_text(json.dumps(older))
        with pytest.raises(RunError, match=said) as error:
            Report.load(tmp_path)
        assert "\n" not in str(error.value)


def test_older_rows_are_refused_in_one_line_and_never_go_on(saved: Report, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    older = [{k: v for k, v in json.loads(r.line()).items() if k != "schema_version"} for r in saved.rows]
    path.write_text("".join(json.dumps(r) + "\n" for r in older))
    with pytest.raises(RunError, match="rows of schema 1, this version reads 2; validate again"):
        Report.load(tmp_path)
    assert read_rows(path, partial=True) == []
    assert RowFile(path).rows == {}


def test_damaged_summaries(saved: Report, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    text = path.read_text()
    path.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Report.load(tmp_path)
    path.write_text(text.replace('"tier": "images"', '"tier": "smell"'))
    with pytest.raises(RunError, match="is damaged \\(tier: "):
        Report.load(tmp_path)


def test_edited_rows_are_not_those_of_the_summary(saved: Report, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    before = path.read_text()
    edited = before.replace('"unsafe":true', '"unsafe":false')
    assert edited != before
    path.write_text(edited)
    with pytest.raises(RunError, match=r"is not what summary\.json was computed from"):
        Report.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"weapon":0.9', '"weapon":NaN', "scores.toy/a.weapon"),
        ('"weapon":0.9', '"weapon":1.5', "less than or equal to 1"),
        ('"unsafe":true', '"unsafe":"true"', "unsafe: "),
        ('"seed":0', '"seed":null', "seed: "),
        ('"key"', '"kee"', "key: Field required"),
        ('{"schema', '["schema', "JSON"),
    ],
)
def test_damaged_rows_say_where(saved: Report, tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match=r"results\.jsonl:1 is damaged") as error:
        Report.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_half_a_last_line_is_dropped_while_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    rows = [row("original", "safe", k) for k in range(3)]
    RowFile(path).add(rows)
    path.write_text(path.read_text() + '{"schema_version": 2, "key": "half')
    with pytest.raises(RunError, match=r"results\.jsonl:4 is damaged"):
        read_rows(path)
    file = RowFile(path)
    assert list(file.rows.values()) == rows
    file.add([row("original", "safe", 3)])
    assert len(read_rows(path)) == 4
    write_rows(path, rows[:2])
    assert read_rows(path) == rows[:2]


def test_a_summary_of_other_rows_is_not_written(saved: Report) -> None:
    other = with_rows(saved, first(1, becomes_unsafe), set_="safe")
    with pytest.raises(RunError, match="from other rows"):
        saved.save(summarise(other))
    with pytest.raises(RunError, match="no folder"):
        Report(saved.facts).save(summarise(Report(saved.facts)))


def test_values_do_not_change(saved: Report) -> None:
    with pytest.raises(Exception, match="frozen"):
        saved.rows[0].unsafe = True
    with pytest.raises(Exception, match="frozen"):
        saved.facts.model = "other"
    with pytest.raises(AttributeError):
        saved.rows = ()  # type: ignore[misc]


def test_a_summary_holds_the_facts_that_it_was_made_from(saved: Report) -> None:
    summary = summarise(saved)
    assert summary.facts() == saved.facts
    assert Summary.model_validate_json(summary.model_dump_json(), strict=True).facts() == saved.facts


def test_rows_of_the_user_are_listed_by_label() -> None:
    own = row("original", "custom", 0, label="borderline")
    assert (own.listed_as, row("original", "safe", 0).listed_as) == ("custom:borderline", "safe")
    assert isinstance(own, ResultRow)
