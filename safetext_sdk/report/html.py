"""index.html: one file that loads nothing. Figures stand in it as text and need no script; the pairs of
pictures are one block of JSON that the page's own script shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results.profile_rates import read_profiles
from ..results.rows import ResultRow
from ..results.summary import FAIL, INCONCLUSIVE, GateResult, Summary
from . import cells
from .curve import curves
from .header import commands, header_lines
from .pairs import UNDEFENDED_HARDENED, page_data
from .profile_cells import NOTE, profile_heads, profile_lines
from .scale import gate_lines, ticks

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment

FOLDER = Path(__file__).parent


def script() -> str:
    """The script of every page, as it stands in it."""
    return (FOLDER / "pairs.js").read_text(encoding="utf-8")


def script_hash() -> str:
    """What the page's content security policy allows to run: this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()


def json_block(data: Mapping[str, Any]) -> str:
    """Data for a ``<script type="application/json">``: no text of a prompt can end the element or start a
    comment in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def two_lines(cell: str) -> Any:
    """ "3.1 % (1.2–6.0, n = 100)" with the bracket small and below: eight columns must fit a screen."""
    from markupsafe import Markup, escape

    point, _, rest = cell.partition(" (")
    return (
        Markup("{}<br><small>{}</small>").format(escape(point), escape(rest.rstrip(")")))
        if rest
        else escape(cell)
    )


def coded(text: str) -> Any:
    """Options and what stands between backquotes as code, which no line breaks."""
    from markupsafe import Markup, escape

    marked = re.sub(r"`([^`]+)`|(--[a-z][a-z-]*(?: \d[\d,]*)?)", _code, str(escape(text)))
    return Markup(marked)


def _code(found: re.Match[str]) -> str:
    return f"<code>{found[1] or found[2]}</code>"


def by_verdict(gates: Sequence[GateResult]) -> list[GateResult]:
    """What failed first, then what is not proven; of each, gates on figures before checks."""
    order = {FAIL: 0, INCONCLUSIVE: 1}
    return sorted(gates, key=lambda gate: (order.get(gate.verdict, 2), gate.metric is None))


@cache
def _compiled() -> BytecodeCache:
    """Compiled templates of this process: a validation and its gate write several pages."""
    from jinja2 import BytecodeCache
    from jinja2.bccache import Bucket

    class InMemory(BytecodeCache):
        def __init__(self) -> None:
            self.kept: dict[str, bytes] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            if found := self.kept.get(bucket.key):
                bucket.bytecode_from_string(found)

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.kept[bucket.key] = bucket.bytecode_to_string()

    return InMemory()


def environment(*folders: Path) -> Environment:
    """Templates of this folder and of ``folders``; all text from prompts and policies is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader([FOLDER, *folders]),
        bytecode_cache=_compiled(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["two_lines"] = two_lines
    made.filters["coded"] = coded
    made.globals["script"] = Markup(script())
    made.globals["script_hash"] = script_hash()
    made.globals["names"] = UNDEFENDED_HARDENED.names
    made.globals["whole"] = "every pair is here"
    made.globals["lead"] = "Left the undefended model, right the hardened one"
    return made


def page(summary: Summary, rows: Sequence[ResultRow], folder: Path) -> str:
    """The whole page. All text from prompts and policies is escaped.

    Args:
        summary: with gates and verdict.
        rows: of the same report, for the pairs and the curves.
        folder: the report folder, where their pictures lie.
    """
    from markupsafe import Markup

    made, table = environment(), read_profiles(folder, summary.results_sha256)
    for show in (cells.gate_cell, cells.gate_original, cells.share):
        made.globals[show.__name__] = show
    return made.get_template("page.html.jinja").render(
        s=summary,
        gates=by_verdict(summary.gates or ()),
        sets=cells.set_cells(summary),
        attacks=cells.attack_cells(summary),
        attack_head=cells.ATTACK_HEAD,
        attack_notes=cells.attack_notes(summary),
        metrics=cells.metric_cells(summary),
        metric_notes=cells.metric_notes(summary),
        kept_note=cells.kept_note(summary),
        corrected=cells.corrected_cells(summary),
        corrected_note=cells.corrected_note(summary),
        encoder=cells.encoder_cells(summary),
        detectors=cells.detector_cells(summary),
        header=header_lines(summary, folder),
        profiles=profile_heads(table) if table else [],
        profile_lines=profile_lines(table) if table else [],
        profile_note=NOTE,
        commands=commands(summary),
        gate_lines=gate_lines(summary),
        ticks=ticks(),
        curves=curves(rows, summary.detectors),
        data_json=Markup(json_block(page_data(rows, summary, folder))),
        word=cells.verdict_word(summary),
        decision=cells.decision_lines(summary),
    )
