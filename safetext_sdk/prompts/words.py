"""Finding words in texts: the one place for it. Three matchers, because three questions are asked.

* `WholeWords`: does a text name this word, as a whole word, singular or plural? Splits hold words out by it:
  it must be strict, or harmless prompts ("gunmetal") would be thrown out.
* `Inflected`: could a text be about this word in any form ("shooting" for "shoot", "gunman" for "gun")? It
  guards what hardening keeps: it must be generous.
* `LongestMatch`: which of many things does a text name, the longest phrase first ("butter knife" is not
  a knife)? It tells what a picture of the prompt should show.

Words in Chinese and Japanese stand without spaces: the first two find them wherever they stand. The third
knows English things only.

The list of words that a policy is refused for (`policy.minors`) is a rule of its own, fixed and below this
package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from ..policy.languages import UNSPACED_LETTERS, anywhere, is_unspaced

_TOKEN = re.compile(rf"[{UNSPACED_LETTERS}]+|[^\W{UNSPACED_LETTERS}]+")
"""Letters of different scripts are words of their own: what stands beside a Chinese character has ended."""
_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=1 << 16)  # a prompt book asks for the same texts again and again
def tokens_of(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case."""
    return tuple(_TOKEN.findall(text.casefold()))


def letter_words(texts: Iterable[str]) -> set[str]:
    """All words of the texts that consist of letters, in lower case."""
    return {word for text in texts for word in _LETTERS.findall(text.lower())}


def replace_first(text: str, word: str, by: str) -> str:
    """``text`` with the first mention of ``word`` (singular or plural) replaced."""
    if is_unspaced(word):
        pattern = re.compile(anywhere(word), re.IGNORECASE)
    else:
        phrase = r"\W+".join(map(re.escape, tokens_of(word)))
        pattern = re.compile(rf"(?<!\w){phrase}(?:s|es)?(?!\w)", re.IGNORECASE)
    return pattern.sub(lambda _: by, text, count=1)


class WholeWords:
    """Finds words and phrases as whole words, singular or plural, whatever the case; those in Chinese and
    Japanese wherever they stand.

    Time does not grow with their number, except for the latter.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._single: dict[str, list[str]] = {}  # every form of a one-word term -> the terms
        # first word -> rest, forms of the last, term
        self._phrases: dict[str, list[tuple[tuple[str, ...], frozenset[str], str]]] = {}
        self._anywhere: list[tuple[re.Pattern[str], str]] = []
        for word in dict.fromkeys(words):
            tokens = tokens_of(word)
            if is_unspaced(word):
                self._anywhere.append((re.compile(anywhere(word.casefold())), word))
                continue
            if not tokens:
                continue
            forms = frozenset((tokens[-1], tokens[-1] + "s", tokens[-1] + "es"))
            if len(tokens) == 1:
                for form in forms:
                    self._single.setdefault(form, []).append(word)
            else:
                self._phrases.setdefault(tokens[0], []).append((tokens[1:-1], forms, word))
        self._first = frozenset((*self._single, *self._phrases))

    def all(self, text: str) -> list[str]:
        """The words that the text names, in the order of their places; those in Chinese and Japanese
        last."""
        return self._spaced(text) + self._unspaced(text)

    def _unspaced(self, text: str) -> list[str]:
        if not self._anywhere or not is_unspaced(text):
            return []
        hits = [(m.start(), word) for p, word in self._anywhere for m in p.finditer(text.casefold())]
        return [word for _, word in sorted(hits)]

    def _spaced(self, text: str) -> list[str]:
        tokens = tokens_of(text)
        if self._first.isdisjoint(tokens):
            return []
        found: list[str] = []
        for i, token in enumerate(tokens):
            found += self._single.get(token, ())
            for middle, forms, word in self._phrases.get(token, ()):
                end = i + 1 + len(middle)
                if end < len(tokens) and tokens[i + 1 : end] == middle and tokens[end] in forms:
                    found.append(word)
        return found

    def search(self, text: str) -> str | None:
        """The first word that the text names, or None."""
        return next(iter(self.all(text)), None)


def contained(words: Iterable[str]) -> set[str]:
    """Words that stand inside another one ("knife" in "hunting knives"): held out, they would still be read
    in training."""
    unique = list(dict.fromkeys(words))
    finder = WholeWords(unique)
    return {hit for text in unique for hit in finder.all(text) if hit != text}


class Inflected:
    """Finds terms in a text in any simple inflection, and as parts of longer words."""

    def __init__(self, terms: Sequence[str]) -> None:
        spaced = [term for term in terms if not is_unspaced(term)]
        self.stems = {tuple(_stem(w) for w in _LETTERS.findall(term)) for term in spaced} - {()}
        unspaced = [anywhere(term.casefold()) for term in terms if is_unspaced(term)]
        self._unspaced = re.compile("|".join(unspaced)) if unspaced else None
        self.single = sorted({stem[0] for stem in self.stems if len(stem) == 1 and len(stem[0]) >= 3})
        self._long = [stem for stem in self.single if len(stem) >= 4]
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for stem in self.stems:
            self._by_first.setdefault(stem[0], []).append(stem)
        self._holds: dict[str, bool] = {}  # word -> whether a term is a part of it: texts share their words

    def found_in(self, text: str) -> bool:
        """Whether a term occurs in ``text``; parts of longer words count too ("gunman")."""
        if self._unspaced is not None and self._unspaced.search(text.casefold()):
            return True
        words = [_stem(w) for w in _LETTERS.findall(text.lower())]
        if any(self._holds_term(word) for word in words):
            return True
        return any(
            tuple(words[i : i + len(stem)]) == stem
            for i, word in enumerate(words)
            for stem in self._by_first.get(word, ())
        )

    def _holds_term(self, word: str) -> bool:
        found = self._holds.get(word)
        if found is None:
            found = self._holds[word] = any(stem in word for stem in self._long)
        return found

    def near(self, word: str) -> bool:
        """Whether ``word`` is one letter away from a term, and another word."""
        return len(word) >= 3 and any(
            abs(len(word) - len(s)) <= 1 and _one_edit(word, s) for s in self.single
        )


class LongestMatch:
    """Names of things in a text, in order of appearance; of overlapping phrases the longest counts.

    Args:
        words_of: name of a thing -> all its words. A word that two things share belongs to the first.
    """

    def __init__(self, words_of: Mapping[str, Iterable[str]]) -> None:
        self.owner: dict[str, str] = {}
        for name, words in words_of.items():
            for word in words:
                self.owner.setdefault(" ".join(word.lower().split()), name)
        # Longest first: regular expressions take the first alternative that fits.
        ordered = sorted(self.owner, key=lambda w: (-len(w), w))
        forms = "|".join(r"\s+".join(map(re.escape, w.split())) for w in ordered)
        self.pattern = re.compile(rf"(?<![\w-])({forms})(?:e?s)?(?![\w-])", re.IGNORECASE)

    def __call__(self, text: str) -> tuple[str, ...]:
        found = (self.owner[" ".join(m.group(1).lower().split())] for m in self.pattern.finditer(text))
        return tuple(dict.fromkeys(found))


def _stem(word: str) -> str:
    word = word.lower()
    for end in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            return word[: -len(end)]
    return word


def _one_edit(a: str, b: str) -> bool:
    if a == b or abs(len(a) - len(b)) > 1:
        return False
    if len(a) == len(b):
        return sum(x != y for x, y in zip(a, b, strict=True)) == 1
    short, long = sorted((a, b), key=len)
    return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
