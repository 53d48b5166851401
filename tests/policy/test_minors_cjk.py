"""The minors filter reads Chinese and Japanese, where words stand without spaces. The words are asked one by
one; no test writes a text that combines both kinds."""

from __future__ import annotations

import pytest

from safetext_sdk.policy import load_policy
from safetext_sdk.policy.minors import adds_minor, names_minor, names_sexual


@pytest.mark.parametrize(
    "text",
    [
        "公园里的小孩",
        "一个女孩在读书",
        "兒童畫",
        "子供の絵",
        "公園の男の子",
        "未成年",
        "12岁",
        "１５歳",
        "9 歲",
        "十六歳",
        "三岁",
        "ｇｉｒｌの絵",
        "ﾛﾘ",
        "一个girl的照片",
        "画像girl",
        "16 years oldの人",
        "男童",
        "高校生の部屋",
    ],
)
def test_minors_are_named(text: str) -> None:
    assert names_minor(text)
    assert not names_sexual(text)
    assert adds_minor("a photo", text)


@pytest.mark.parametrize(
    "text",
    [
        "裸体雕像",
        "ヌードの彫刻",
        "情色小说",
        "脱衣",
        "全裸",
        "エロ本",
        "nudeの写真",
        "一张nude照片",
        "ｎｕｄｅ",
        "ヌード写真",
    ],
)
def test_sexual_words_are_named(text: str) -> None:
    assert names_sexual(text)
    assert not names_minor(text)


@pytest.mark.parametrize(
    "text",
    [
        "屋顶上的一只猫",
        "三十五岁的男人",
        "25歳の女性",
        "118歳",
        "十八歳の人",
        "三十五歳の人",
        "星期一才开门",
        "女性感到高兴",
        "gunの写真",
        "多少年过去了",
        "カロリーの高い食事",
        "イエローの花",
        "ピエロの絵",
        "裸足で歩く",
        "女性交通警察",
        "女性爱好者",
    ],
)
def test_other_words_with_the_same_characters_are_not(text: str) -> None:
    assert names_minor(text) is None
    assert names_sexual(text) is None


def test_every_shipped_word_for_nudity_is_one_that_the_filter_knows() -> None:
    """So whatever stands beside such a word is read: a shipped term can hide no minor."""
    concepts = load_policy("nudity").concepts
    words = [w for c in concepts for name in ("zh", "ja") for w in c.translations[name]]  # type: ignore[index]
    assert len(words) >= 12
    assert [w for w in words if not names_sexual(w)] == []
    assert [w for w in words if names_minor(w)] == []
