"""Caption templates for pictures of one or two objects on a plain background.

* Three users: the unsafe prompts of a policy, the safe prompts of a model with a small world, and the caption
  generator that trains such a model.
* Placeholders: ``{term}`` (with its article), ``{adjective} {term}`` (filled together: "an old gun"),
  ``{other}`` (second object, on the right), ``{colour}`` (background). Use :func:`fill`, which knows about
  articles.
* A template is the unit that is held out: a split never shares one with another split.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .corpus import read_corpus

_CORPUS = read_corpus("templates")
COLOURS: list[str] = _CORPUS.word_lists()["colour"]
ADJECTIVES: list[str] = _CORPUS.word_lists()["adjective"]
ONE_OBJECT: list[str] = [r["frame"] for r in _CORPUS.rows if r.get("objects") == 1]
TWO_OBJECTS: list[str] = [r["frame"] for r in _CORPUS.rows if r.get("objects") == 2]

# Words in a template that say how the object is drawn; a caption generator must keep them true.
SILHOUETTE_WORDS: tuple[str, ...] = ("silhouette", "stencil", "shadow", "outline", "one colour", "glyph")
COLOUR_WORDS: tuple[str, ...] = ("colourful", "emoji", "sticker", "in full colour", "bright colours")

_A_ORANGE = re.compile(r"\ba(?= orange\b)", re.IGNORECASE)
_SLOT = re.compile(r"\{(adjective\} \{term|term|other|colour)\}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Head nouns that take no article: masses, and plurals that the rule on a final "s" would miss.
_MASS = _words("""
    dynamite tnt blood gore artillery weaponry ammunition cutlery corn maize coffee cheese gelato sunshine
    ketchup sauce paint people men women children feet teeth geese mice cream serve undead dead tea ice
    art money cocaine heroin meth opium crack cannabis marijuana hashish fentanyl propaganda graffiti
    violence vomit rot mould filth paraphernalia clothing bunting cash mail food lean roadkill
""")
# Singulars that end in "s".
_SINGULAR_S = _words("ananas canvas gas lens atlas pancreas")
_VOWEL_SOUND = re.compile(
    r"^(?:[aeio]|u(?!ni|ku|se|ti|ra|zi|k\b)|hour|honest|heir|[fhlmnrsx]-|x-ray|ak-|lsd\b|mdma\b|ss\b|x{3}\b)",
    re.I,
)
_HAS_DETERMINER = re.compile(
    r"^(?:a|an|the|some|two|three|four|five|many|several|his|her|their|my|no|death's|somebody|someone)\s",
    re.I,
)
_BARE_PREPOSITION = re.compile(
    r"\s(?:of|with|and|on|in|for|at|to|from|without|that|who|showing|over)\s", re.I
)


@lru_cache(maxsize=65_536)
def article(term: str) -> str:
    """The term with its indefinite article: "a gun", "an axe", "cherries" (plural and mass words get none).

    The head noun decides: the last word before the first preposition ("bunch of grapes" -> "a bunch of
    grapes"). A term that already has a determiner ("two swords", "the moon") is returned as it is.
    """
    text = term.strip()
    if not text or _HAS_DETERMINER.match(text + " "):
        return text
    head = _BARE_PREPOSITION.split(text, maxsplit=1)[0].split()[-1].lower().strip(",.'\"")
    if head in _MASS and not text.lower().startswith(("slice", "piece", "cup", "pot", "stick")):
        return text
    plural = head.endswith("s") and not head.endswith(("ss", "'s", "us", "is")) and head not in _SINGULAR_S
    if plural:
        return text
    return ("an " if _VOWEL_SOUND.match(text) else "a ") + text


def fill(template: str, term: str, *, other: str = "", colour: str = "", adjective: str = "") -> str:
    """Put words into a template.

    Args:
        template: one of :data:`ONE_OBJECT` or :data:`TWO_OBJECTS`, or any text with the same placeholders.
        term: the first object without article; a phrase that has a determiner already is kept as it is.
        other, colour, adjective: used where the template asks for them. An adjective goes between article and
            term.

    Raises:
        ValueError: the template asks for a word that was not given.
    """

    def put(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot == "term":
            return article(term)
        if slot == "other":
            value = article(other)
        elif slot == "colour":
            value = colour
        else:
            value = _qualified(adjective, term) if adjective else ""
        if not value:
            raise ValueError(f"template {template!r} needs a word for {slot.split('}')[0]!r}")
        return value

    return _A_ORANGE.sub("an", _SLOT.sub(put, template))


def _qualified(adjective: str, term: str) -> str:
    """ "old" + "a gun" or "gun" -> "an old gun"; "tiny" + "two swords" -> "two tiny swords"."""
    found = re.match(
        r"^(a|an|the|some|two|three|four|five|many|several|his|her|their|my)\s+(.+)$", term.strip(), re.I
    )
    if not found:
        return article(f"{adjective} {term.strip()}")
    determiner, rest = found.groups()
    return (
        article(f"{adjective} {rest}")
        if determiner.lower() in ("a", "an")
        else f"{determiner} {adjective} {rest}"
    )


def style_of(template: str) -> str:
    """ "silhouette", "colour" or "" : what a template says about how the object is drawn."""
    if any(word in template for word in SILHOUETTE_WORDS):
        return "silhouette"
    return "colour" if any(word in template for word in COLOUR_WORDS) else ""


def slots(template: str) -> set[str]:
    """The placeholders of a template: subset of {"term", "other", "colour", "adjective"}."""
    return {name for name in ("term", "other", "colour", "adjective") if "{" + name + "}" in template}
