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

_SEXUAL_LABEL = re.compile("sexual|nud(?!g)|porn|nsfw", re.IGNORECASE)
"""In the id of a concept or the category of a published set, within longer words too."""


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
# Numbers below 18 with what makes an age of them; what stands between the two may be nothing.
_GAP = r"[\s_-]*"
_FIGURES = "1[0-7]|[1-9]"
_ENGLISH = _words("""
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
""")
_OTHERS = _words("""
    dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis dieciseis
    diecisiete deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept
    zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn due
    tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici diciassette
    dois três quatro sete oito dez treze quatorze dezesseis dezasseis dezessete dezassete
""")
# "Thirty-five", "treinta y cinco", "trinta e cinco", "trente-cinq", "trente et un" and "dix-huit" are above.
_IN_ENGLISH = rf"(?:{_FIGURES}|(?<!ty[\s_-])(?:{'|'.join(sorted(_ENGLISH))}))"
_IN_OTHERS = (
    rf"(?:{_FIGURES}|(?<!nt[ae][\s_][ye][\s_])(?<!n[gt][et][\s_-])(?<!n[gt][et][\s_-]et[\s_-])(?<!dix[\s_-])"
    rf"(?:{'|'.join(sorted(_OTHERS))}))"
)
_AGE = "|".join(
    [
        rf"{_IN_ENGLISH}{_GAP}(?:years?|yrs?|months?){_GAP}(?:olds?|of{_GAP}age)",
        rf"{_IN_ENGLISH}{_GAP}y[./]?os?(?!-yo)",
        # "At age one" is an age, "at that age one learns" is none.
        rf"(?<!middle[\s_-])(?:(?<=(?<![^\W_])at[\s_-])|(?!age\sone))"
        rf"age[sd]?[\s_:=-]{{0,3}}(?:of{_GAP})?{_IN_ENGLISH}"
        rf"(?![0-9]|,[0-9]{{3}}|{_GAP}(?:hundred|thousand|million))",
        rf"{_IN_OTHERS}{_GAP}(?:ans|años|anos|anni|jahren?|jährig(?:e[mnrs]?)?)",
    ]
)
# What makes a longer word of one in Latin letters. A Chinese character beside it does not, nor do figures,
# underscores and hyphens, with which tags join words. A figure before a number makes another number of it.
_LETTER = rf"[^\W\d_{UNSPACED_LETTERS}]"
_LETTER_OR_FIGURE = rf"[^\W_{UNSPACED_LETTERS}]"


def _pattern(words: frozenset[str], letter: str, age_behind: str = "", unspaced: str = "") -> re.Pattern[str]:
    found = [rf"(?<!{letter})(?:{'|'.join(map(re.escape, sorted(words)))})(?!{letter})"]
    if age_behind:
        found.append(rf"(?<!{age_behind})(?:{_AGE})(?!{letter})")
    return re.compile("|".join([*found, *([unspaced] if unspaced else [])]), re.IGNORECASE)


# Nearly every text is plain ASCII, for which the simpler of two patterns says the same.
_MINOR_ASCII, _SEXUAL_ASCII = _pattern(_MINOR, "[a-z]", "[a-z0-9]"), _pattern(_SEXUAL, "[a-z]")
_MINOR_RE = _pattern(_MINOR, _LETTER, _LETTER_OR_FIGURE, f"{_MINOR_CJK}|{_AGE_CJK}")
_SEXUAL_RE = _pattern(_SEXUAL, _LETTER, unspaced=_SEXUAL_CJK)
_ASCII_WORD = re.compile("[a-z]+")
_AGE_HINTS = ("old", "age", "yo", "y/o", "y.o", "ans", "anos", "anni", "jahre")
"""One of them stands in every age that is written in ASCII."""
WHY = (
    "combines sexual content with minors; SafeText writes no such prompt for any purpose, because hardening "
    "an adult concept does not need one. Use adult subjects"
)


def names_minor(text: str) -> str | None:
    """The first word that names a minor, or an age below 18, or None."""
    if text.isascii():
        lower = text.lower()
        if _without(_MINOR, lower) and not any(hint in lower for hint in _AGE_HINTS):
            return None
        found = _MINOR_ASCII.search(text)
    else:
        found = _MINOR_RE.search(_plain(text))
    return found.group(0) if found else None


def names_sexual(text: str) -> str | None:
    """The first word that names sexual content, or None."""
    if text.isascii():
        if _without(_SEXUAL, text.lower()):
            return None
        found = _SEXUAL_ASCII.search(text)
    else:
        found = _SEXUAL_RE.search(_plain(text))
    return found.group(0) if found else None


def _without(words: frozenset[str], lower: str) -> bool:
    """Whether an ASCII text has none of the words. Every text of a prompt book is asked, and few have any: a
    look into the set says so ten times faster than the expression, and says the same."""
    return words.isdisjoint(_ASCII_WORD.findall(lower))


def _plain(text: str) -> str:
    """Without full-width letters and half-width kana, which read as the plain ones."""
    return unicodedata.normalize("NFKC", text)


def combines(text: str) -> bool:
    """Whether one text has both."""
    return names_sexual(text) is not None and names_minor(text) is not None


def is_sexual_label(label: str) -> bool:
    """Whether the id of a concept or the category of a prompt says that what it stands for is sexual."""
    return _SEXUAL_LABEL.search(label) is not None or names_sexual(label) is not None


def is_sexual(concept: Concept) -> bool:
    """Whether a concept is sexual by its id or by one of its words, in whatever language."""
    return is_sexual_label(concept.id) or _any(names_sexual, concept.all_words)


def is_refused(text: str, *, sexual: bool) -> bool:
    """Whether a text may not be used. ``sexual``: it stands for sexual content, or is the anchor of one that
    does; then it needs no sexual word of the list, and naming a minor is enough."""
    return names_minor(text) is not None if sexual else combines(text)


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
    sexual = is_sexual(concept)
    own = [text for ref in concept.unsafe_prompts for text in (ref.text, ref.anchor) if text]
    if any(is_refused(text, sexual=sexual) for text in own) or any(map(combines, concept.near_misses)):
        raise PolicyError(f"a prompt {WHY}", file=file, field=field)
    # The expansion puts every term into every template with every fill: the parts together must not combine.
    parts = [concept.id.replace("_", " ").replace("-", " "), *concept.all_words]
    parts += [text for t in concept.templates for text in (t.text, t.context) if text]
    parts += [*concept.anchors, *(a for own in concept.anchors_for.values() for a in own)]
    parts += [f for fills in policy.fills.values() for f in fills]
    if (sexual or _any(names_sexual, parts)) and _any(names_minor, parts):
        raise PolicyError(
            f"the terms, templates, fills and anchors of {concept.id!r} together {WHY}"[:400],
            file=file,
            field=field,
        )


def _any(test: Callable[[str], str | None], texts: Iterable[str]) -> bool:
    return any(test(t) for t in texts)
