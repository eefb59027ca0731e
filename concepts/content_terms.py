"""Words that name minors and words that are sexual, found in a text however they are spelled.

No list of words is complete. These are the usual English ones and the commonest of a few other
languages: they stop what is written by mistake or without a thought. Whoever means to hide it is
for the reviewers, who read every definition.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from concepts.printable import without_invisible

MINORS = (
    "child(ren|s|hood|like)?", "kid(s|do|dos|die|dies|dy)?", "minors?", "toddlers?", "infants?",
    "bab(y|ies)", "new ?borns?", "pre ?teens?", "tweens?", "pre ?adolescents?", "pre ?pubescents?",
    "teens?", "teen ?age(d|r|rs)?", "adolescents?", "juveniles?", "youngsters?", "under ?aged?",
    "(school ?)?(girl|boy)s?", "school ?(child(ren)?|kids?)",
    "kindergart(en|ens|ner|ners|eners?)",
    "(pre|nursery|primary|elementary|middle|high) ?school(ers?)?",
    "(first|second|third|fourth|fifth|sixth|seventh|eighth|ninth) graders?",
    "kinder", "kleinkind(er|ern)?", "madchen", "minderjahrig\\w*", "jugendliche[nr]?",
    "enfants?", "mineure?s?", "fillettes?", "bebes?",
    "nin[oa]s?", "menor(es)?", "adolescentes?", "bambin[aeio]", "ragazzin[aeio]", "minorenn[ei]",
    "criancas?", "menin[ao]s?",
)  # fmt: skip
MINORS_UNSPACED = (
    "未成年", "儿童", "兒童", "小孩", "孩子", "幼女", "幼童", "少女", "少年", "萝莉", "正太",
    "子供", "子ども", "こども", "ロリ", "ショタ", "小学生", "中学生", "女子高生",
    "어린이", "미성년", "소녀", "дети", "детей", "ребен", "девочк", "мальчик", "несовершеннолетн",
)  # fmt: skip
"""Of languages that set no spaces between words, or change their ends."""

HARMLESS = (
    "(in [a-g]|[b-g])( sharp| flat)? minor", "a (sharp|flat) minor", "(asia|ursa|canis|leo) minor",
    "minor (key|scale|chord|third|sixth|seventh|detail|difference|change|variation|scratch|crack|"
    "flaw|damage|injur|wound|cut|edit|role|part|issue|league|planet|character|adjustment)\\w*",
    "kid (gloves?|leather)", "babys breath", "baby (blue|pink|oil|grand|corn|carrots?)",
    "childs pose", "inner child", "boy ?shorts?", "(cover|pin ?up|show) girls?",
    "kinder (egg|surprise|than|to)", "naked (eye|flame|mole|singularity)",
    "nude (lipstick|nail polish|heels?|shoes?|tones?|shades?|colou?rs?)",
)  # fmt: skip
"""Where such a word names nobody, or is not sexual."""

SEXUAL = (
    "nud(e|es|ity|ist|ists|ism)", "naked(ness)?", "topless", "un ?dress(ed|ing)",
    "un ?clothed", "sex(es|ed|ier|iest|y|ting|ual\\w*)?", "erotic\\w*", "porn\\w*",
    "nsfw", "hentai", "ecchi", "lewd",
    "genitals?", "genitalia", "penis(es)?", "vulvas?", "vaginas?", "nipples?",
    "bare (breast(s|ed)?|bottoms?|buttocks)", "lingerie", "fetish\\w*", "orgasm\\w*",
    "masturbat\\w*", "intercourse", "strip ?tease", "bdsm", "up ?skirts?",
    "nackt\\w*", "desnud[ao]s?",
)  # fmt: skip
ABUSE = (
    "cs[ae]m", "loli(s|con)?", "shota(s|con)?", "jail ?bait", "pa?edo(s|ph\\w+)?",
    "(child|kiddie|kid|infant|toddler) (porn|sex|abuse|exploitation)\\w*", "under ?age sex",
)  # fmt: skip
"""What stands for the sexual abuse of minors by itself."""

NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
)  # fmt: skip
_AGE = rf"(1[0-7]|[0-9]|{'|'.join(NUMBERS)})"
AGES = (
    rf"{_AGE} ?(years? ?olds?|yrs? ?olds?|y ?os?|years? of age|jahrig\w*)", rf"aged? {_AGE}",
    "(under|below|younger than) (the age of )?(1[0-8]|eighteen|sixteen|fourteen|twelve)"
    "(?! (seconds?|minutes?|hours?|days?|pixels?|cm|mm|euros?|dollars?))",
)  # fmt: skip

_LOOKALIKES = "034578@$!авеікмнорстухαεικορτυ", "oeastbasiabeikmhopctyxaeikoptu"
_DISGUISES = [str.maketrans(*_LOOKALIKES) | {ord("1"): one} for one in "il"]
_SPACED_OUT = [re.compile(rf"\b{article}[a-z]( [a-z]){{2,}}\b") for article in ("", "(?<=a )")]


class Terms:
    """Terms to look for, as expressions over text that ``readings`` returns.

    Args:
        terms: Of whole words.
        unspaced: Plain text that is found within words too.
    """

    def __init__(self, terms: Sequence[str], unspaced: Sequence[str] = ()) -> None:
        self._words = re.compile(rf"\b({'|'.join(terms)})\b")
        self._parts = [_folded(part) for part in unspaced]

    def first_in(self, text: str) -> str | None:
        """Return the first term that a text names, as it is read; None for none."""
        for reading in readings(text):
            cleared = _HARMLESS.sub(" , ", reading)
            if found := self._words.search(cleared):
                return found[0]
            if part := next((part for part in self._parts if part in reading), None):
                return part
        return None


def readings(text: str) -> list[str]:
    """Return a text as it may be read: plain words in small letters, one space apart.

    Accents, hyphens and what takes no place are gone; then letters that look like others are read
    as those ("ch1ld"), and letters set apart are joined ("c h i l d").
    """
    plain = _folded(text)
    unmasked = [_unmasked(plain, disguise) for disguise in _DISGUISES]
    joined = [
        pattern.sub(lambda match: match[0].replace(" ", ""), plain) for pattern in _SPACED_OUT
    ]
    return list(dict.fromkeys([plain, *unmasked, *joined]))


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", without_invisible(text).casefold())
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^\w@$!]+|_+", " ", re.sub("['`\u2019\u00b4]", "", bare)).strip()


def _unmasked(text: str, disguise: Mapping[int, int | str]) -> str:
    """Read words that mix Latin letters with others as Latin alone."""
    words = (
        word.translate(disguise) if re.search("[a-z]", word) else word for word in text.split()
    )
    return " ".join(words)


_HARMLESS = re.compile(rf"\b({'|'.join(HARMLESS)})\b")
NAMES_MINORS = Terms([*MINORS, *AGES], MINORS_UNSPACED)
NAMES_ABUSE = Terms(ABUSE)
IS_SEXUAL = Terms(SEXUAL)
