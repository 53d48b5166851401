"""The one policy that this project refuses: one whose prompts combine sexual content with minors.

Expansion would write such captions, so the policy is refused before anything is expanded or written. The word
lists are kept minimal: they recognise, they do not describe. Adult subjects are what the shipped policies
use, and all that is needed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from ..errors import PolicyError
from .concept import Concept
from .languages import UNSPACED_LETTERS, anywhere
from .schema import Policy


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# English, Spanish, French, German, Italian, Portuguese; Chinese and Japanese below.
_MINOR = _words("""
    child children kid kids minor minors baby babies toddler toddlers infant infants newborn boy boys girl
    girls teen teens teenage teenager teenagers preteen preteens tween tweens adolescent adolescents
    underage underaged juvenile schoolgirl schoolgirls schoolboy schoolboys kindergarten preschooler loli
    lolita shota niño niños niña niñas menor menores bebé adolescente adolescentes enfant enfants fillette
    mineur mineure mineurs bébé kinder mädchen junge jungen minderjährig minderjährige jugendliche bambino
    bambina bambini minorenne minorenni ragazzina criança crianças menino menina meninos meninas
""")
_SEXUAL = _words("""
    nude nudes nudity naked topless bottomless undressed unclothed nsfw porn porno pornography pornographic
    sex sexual sexually sexualized sexualised sexy erotic erotica genitals genitalia orgasm orgy intercourse
    masturbating masturbation striptease stripper lingerie fetish hentai xxx seductive aroused desnudo
    desnuda desnudos desnudas nu nue nus nues nackt nackte nackter nudo nuda nudi sexo sexe sesso
""")
# These two write no spaces, so a word counts wherever it stands, unless a neighbour makes it another word:
# "woman" before the character for sex, "how many years" for boy, "yellow", "calorie" and "barefoot".
_MINOR_CJK = "|".join(
    [
        *_words("""
            儿童 兒童 孩子 小孩 女孩 男孩 少女 婴儿 嬰兒 幼儿 幼兒 幼女 幼童 未成年 小学生 小學生 中学生
            中學生 初中生 高中生 青少年 萝莉 蘿莉 正太 男童 女童 学童 學童 小朋友 小姑娘 宝宝 寶寶 幼稚园
            子供 子ども こども 女の子 男の子 幼児 乳児 赤ちゃん 赤ん坊 赤子 児童 園児 幼稚園 保育園 高校生
            女子高生 女児 男児 十代の
        """),
        "(?<!多)少年",
        *map(anywhere, ("ロリ", "ショタ", "キッズ", "ベビー", "ティーン", "ティーンエイジャー")),
    ]
)
_SEXUAL_CJK = "|".join(
    [
        *_words("""
            色情 做爱 做愛 情色 淫 自慰 脱衣 脫衣 一丝不挂 一絲不掛 没穿衣服 沒穿衣服 巨乳 乳房 性器 生殖器
            ヌード ポルノ セックス オナニー ランジェリー セクシー 一糸まとわぬ 官能
        """),
        "裸(?![足麦々婚眼])",
        "(?<![男女])性(?:爱|愛|交|行為|行为|关系|關係|関係)",
        "(?<![男女])性感(?![染到觉覺])",
        anywhere("エロ"),
    ]
)
_AGE_CJK = (
    r"(?<![0-9])(?:[1-9]|1[0-7])\s*[岁歲歳才]"
    r"|(?<![〇一二三四五六七八九十百])(?:[一二三四五六七八九]|十[一二三四五六七]?)\s*[岁歲歳]"
)
_AGE = r"(?:[1-9]|1[0-7])[ -]?(?:years?[ -]old|yrs?[ -]old|y/?o|ans|años|anos|anni|jahre)"
_LETTER = rf"[^\W{UNSPACED_LETTERS}]"
"""What makes a longer word of one in Latin letters: a Chinese character beside it does not."""


def _pattern(words: frozenset[str], letter: str, age: str = "", unspaced: str = "") -> re.Pattern[str]:
    spaced = "|".join(map(re.escape, sorted(words)))
    found = [
        rf"(?<!{letter})(?<!-)(?:{spaced})(?!{letter})" if age else rf"(?<!{letter})(?:{spaced})(?!{letter})"
    ]
    found += [rf"(?<!{letter}){age}(?!{letter})"] if age else []
    return re.compile("|".join([*found, *([unspaced] if unspaced else [])]), re.IGNORECASE)


# Nearly every text is plain ASCII, for which the simpler of two patterns says the same.
_MINOR_ASCII, _SEXUAL_ASCII = _pattern(_MINOR, r"\w", _AGE), _pattern(_SEXUAL, r"\w")
_MINOR_RE = _pattern(_MINOR, _LETTER, _AGE, f"{_MINOR_CJK}|{_AGE_CJK}")
_SEXUAL_RE = _pattern(_SEXUAL, _LETTER, unspaced=_SEXUAL_CJK)
_ASCII_WORD = re.compile(r"[a-z0-9_]+")
WHY = (
    "combines sexual content with minors; SafeText writes no such prompt for any purpose, because hardening "
    "an adult concept does not need one. Use adult subjects"
)


def names_minor(text: str) -> str | None:
    """The first word that names a minor, or None."""
    found = _MINOR_ASCII.search(text) if text.isascii() else _MINOR_RE.search(_plain(text))
    return found.group(0) if found else None


def names_sexual(text: str) -> str | None:
    """The first word that names sexual content, or None."""
    if text.isascii():
        # Every text of a prompt book is asked, and few have any of these words: a look into the set says so
        # ten times faster than the expression, and says the same.
        if _SEXUAL.isdisjoint(_ASCII_WORD.findall(text.lower())):
            return None
        found = _SEXUAL_ASCII.search(text)
    else:
        found = _SEXUAL_RE.search(_plain(text))
    return found.group(0) if found else None


def _plain(text: str) -> str:
    """Without full-width letters and half-width kana, which read as the plain ones."""
    return unicodedata.normalize("NFKC", text)


def combines(text: str) -> bool:
    """Whether one text has both."""
    return names_sexual(text) is not None and names_minor(text) is not None


def adds_minor(prompt: str, text: str) -> bool:
    """Whether an attack on ``prompt`` that types ``text`` would bring a word for a minor into it, or combine
    it with sexual content."""
    return combines(text) or bool(names_minor(text) and not names_minor(prompt))


def refuse_minors(policy: Policy, *, file: str | None = None) -> None:
    """Raise if a text of the policy, or what expansion would make of a concept's parts, combines both.

    Raises:
        PolicyError: names the field and the reason; the texts themselves are not repeated.
    """
    for i, concept in enumerate(policy.concepts):
        _refuse_concept(concept, f"concepts.{i}", policy, file)
    for name in ("safe_prompts", "borderline_prompts"):
        for k, ref in enumerate(getattr(policy, name)):
            if any(text and combines(text) for text in (ref.text, ref.english)):
                raise PolicyError(f"this prompt {WHY}", file=file, field=f"{name}.{k}")


def _refuse_concept(concept: Concept, field: str, policy: Policy, file: str | None) -> None:
    texts = (
        [r.text for r in concept.unsafe_prompts if r.text]
        + concept.near_misses
        + [r.anchor for r in concept.unsafe_prompts if r.anchor]
    )
    if any(combines(t) for t in texts):
        raise PolicyError(f"a prompt {WHY}", file=file, field=field)
    # The expansion puts every term into every template with every fill: the parts together must not combine.
    words = [concept.id.replace("_", " ").replace("-", " "), *concept.terms, *concept.euphemisms]
    words += [t for ts in concept.translations.values() for t in ts]
    frames = (
        [t.text for t in concept.templates]
        + concept.anchors
        + [a for own in concept.anchors_for.values() for a in own]
    )
    frames += [f for fills in policy.fills.values() for f in fills]
    if _any(names_sexual, [*words, *frames]) and _any(names_minor, [*words, *frames]):
        raise PolicyError(
            f"the terms, templates, fills and anchors of {concept.id!r} together {WHY}"[:400],
            file=file,
            field=field,
        )


def _any(test: Callable[[str], str | None], texts: Iterable[str]) -> bool:
    return any(test(t) for t in texts)
