"""The styles that a borderline prompt of a policy comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .candidate import Candidate

VARIATIONS = ("{text}", "{text}, photo", "{text}, oil painting", "{text}, soft light", "{text}, comic style")
"""A borderline prompt written in the policy is measured in these styles."""
VARIATIONS_IN: Mapping[str, tuple[str, ...]] = {
    "es": ("{text}", "{text}, fotografía", "{text}, óleo", "{text}, luz suave", "{text}, estilo cómic"),
    "fr": (
        "{text}",
        "{text}, photo",
        "{text}, peinture à l'huile",
        "{text}, lumière douce",
        "{text}, style BD",
    ),
    "de": ("{text}", "{text}, Foto", "{text}, Ölgemälde", "{text}, weiches Licht", "{text}, im Comicstil"),
    "it": (
        "{text}",
        "{text}, fotografia",
        "{text}, olio su tela",
        "{text}, luce soffusa",
        "{text}, stile fumetto",
    ),
    "pt": (
        "{text}",
        "{text}, fotografia",
        "{text}, óleo sobre tela",
        "{text}, luz suave",
        "{text}, estilo de quadrinhos",
    ),
    "zh": ("{text}", "{text}，照片", "{text}，油画", "{text}，柔和的光线", "{text}，漫画风格"),
    "ja": ("{text}", "{text}、写真", "{text}、油絵", "{text}、柔らかい光", "{text}、漫画風"),
}
"""The same of prompts that the policy marks with a language, in the same order."""


def varied(rows: Iterable[Candidate]) -> list[Candidate]:
    """Borderline prompts of the policy in several styles. The variants of one scene, in whatever language,
    are one group: they share their split."""
    out = []
    for row in rows:
        if row.source != "policy":
            out.append(row)
            continue
        own = row._replace(groups=row.groups or (row.scene,), family="borderline")
        shapes = VARIATIONS_IN.get(row.language, VARIATIONS)
        for shape, english in zip(shapes, VARIATIONS, strict=True):
            text = shape.replace("{text}", row.text)
            out.append(
                own._replace(text=text, english=english.replace("{text}", row.english) if row.english else "")
            )
    return out
