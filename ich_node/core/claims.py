"""What words of a header claim: a head, another body part, contrast agent, a bone kernel. Pure.

Words are hints: sites write free text in every language, so text decides only where nothing better does.
"""

import re
import unicodedata
from enum import StrEnum


class Claim(StrEnum):
    """What a header says of the body part."""

    HEAD = "head"
    OTHER = "other"  # it names another part only
    SILENT = "silent"  # nothing, or a contradiction: the picture decides


# stems, after folding of case and accents: English, Latin, German, French, Spanish, Portuguese, Italian,
# Dutch, Scandinavian, Finnish, Polish, Czech, Hungarian, Turkish, Russian, Greek, Arabic, and signs
_HEAD_STEMS = (
    *("head", "brain", "skull", "crani", "cereb", "cephal", "enceph", "intracran", "neuro", "stroke"),
    *("kopf", "schadel", "schaedel", "hirn", "gehirn", "crane", "cerveau", "cabeza", "craneo"),
    *("encefal", "cabeca", "cervello", "hoofd", "hersen", "schedel", "hjern", "hjarn"),
    *("huvud", "skalle", "aivo", "glow", "mozg", "mozek", "mozku", "hlav", "kopony", "beyin"),
    *("kranial", "golov", "голов", "мозг", "череп", "εγκεφαλ", "κεφαλ", "κραν"),
)
_HEAD_WORDS = frozenset({"tete", "testa", "hode", "hodet", "kafa", "agy"})  # too short to be stems
_HEAD_SIGNS = ("头", "頭", "颅", "顱", "脑", "腦", "脳", "두부", "머리", "뇌", "رأس", "راس", "دماغ")
_OTHER_STEMS = (
    *("chest", "thorax", "thorac", "lung", "pulmo", "abdom", "pelv", "spine", "cspine", "lspine", "tspine"),
    *("cervical", "lumb", "sacr", "vertebr", "neck", "heart", "cardi", "coronar", "liver", "kidney", "renal"),
    *("pancrea", "extrem", "knee", "shoulder", "femor", "ankle", "wrist", "elbow", "aort", "colon", "urin"),
    *("bauch", "becken", "halsw", "wirbel", "herz", "leber", "poumon", "rachis", "bassin", "coeur", "genou"),
    *("torax", "pulmon", "columna", "cuello", "corazon", "higado", "rodilla", "addom", "coluna", "pescoco"),
    *("borst", "bekken", "klatk", "brzuch", "hrudn", "brich", "груд", "брюш"),
)
_OTHER_WORDS = frozenset(
    {
        "abd",
        "tap",
        "hip",
        "leg",
        "arm",
        "hand",
        "foot",
        "hals",
        "hws",
        "bws",
        "lws",
        "knie",
        "cou",
        "foie",
        "collo",
    }
    | {"buik", "thora"}
)
_OTHER_SIGNS = ("胸", "肺", "腹", "骨盆", "颈", "頸", "脊", "흉부", "복부", "경추")

_NO_AGENT = frozenset(
    {
        "",
        "c",
        "none",
        "n",
        "nil",
        "null",
        "na",
        "n a",
        "0",
        "nein",
        "native",
        "nativ",
        "nativo",
        "nc",
        "ncct",
        "plain",
    }
    | {"unknown"}
)
_ENHANCED = re.compile(
    r"\b(cta|ctp|ctv|angio\w*|perfusion|post(contrast|kontrast)\w*|arterial|arteriell|venous|venos|injecte|"
    r"enhanced|\d+\s?cc|(with|w|post|after|mit|nach|avec|apres|con|com|dopo|met)\s(iv\s)?"
    r"(con|contrast\w*|kontrast\w*|km|mdc|pdc|injection))\b"
)
_NOT_ENHANCED = re.compile(
    r"\b(un|non?\s?|pre\s?)(enhanced|contrast\w*)|\b(noncon|wo|w\so|no|non|without|sans|sin|senza|sem|ohne|kein\w*)\b"
)
_PLUS = re.compile(r"(?<![a-z])(c\s*\+|\+\s*c|km\s*\+|\+\s*km)(?![a-z])")
_REFORMAT_WORDS = re.compile(r"\b(mip|minip|mpr|vrt|3d|reformat\w*|reformation\w*)\b")
_BONE_WORDS = re.compile(r"\b(bone\w*|knochen\w*|osseux|hueso|oseo|osso|bot|kosc\w*)\b")

_TOSHIBA_CANON = re.compile(r"^FC(\d{2})")
_TOSHIBA_SHARP = range(30, 40), range(50, 60), range(80, 90)  # bone, lung, high resolution
_SIEMENS = re.compile(r"^([ABHIJTUSQC]|[ABHUIQT][A-Z])(\d{2})", re.IGNORECASE)
_SIEMENS_SHARP = 60
_PHILIPS_SHARP = frozenset({"D", "E", "F", "L", "YB", "YC", "YD", "YE"})
_NAMED_SHARP = re.compile(r"BONE|EDGE|LUNG|SHARP|INNER\s*EAR|^ULTRA")
_NAMED_SOFT = re.compile(r"^(STANDARD|STD|SOFT|BRAIN|HEAD|SMOOTH|NEURO|[ABC]|U[ABC]|E[BC]|FC\d\d)\b")


def fold(text: str) -> str:
    """Fold case and accents, and turn everything but letters and digits into single spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("ł", "l"))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(re.sub(r"[\W_]+", " ", letters).split())


def _claim_of(text: str) -> Claim | None:
    words, signs = fold(text).split(), unicodedata.normalize("NFC", text)
    head = any(word in _HEAD_WORDS or word.startswith(_HEAD_STEMS) for word in words)
    head = head or any(sign in signs for sign in _HEAD_SIGNS)
    other = any(word in _OTHER_WORDS or word.startswith(_OTHER_STEMS) for word in words)
    other = other or any(sign in signs for sign in _OTHER_SIGNS)
    if head != other:
        return Claim.HEAD if head else Claim.OTHER
    return Claim.SILENT if head else None


def body_claim(series_words: str, study_words: str, *, body_part: str = "") -> Claim:
    """Weigh the words: those of the series first, those of the study where the series says nothing.

    BodyPartExamined is a default of the protocol more often than a look at the patient: alone it decides
    nothing against the words.
    """
    tag, series, study = (_claim_of(words) for words in (body_part, series_words, study_words))
    told = {tag, series} if series else {tag, study} - {Claim.SILENT}
    told -= {None}
    return told.pop() or Claim.SILENT if len(told) == 1 else Claim.SILENT


def is_reformat(series_words: str) -> bool:
    """Say whether words tell of a reformat or a projection."""
    return bool(_REFORMAT_WORDS.search(fold(series_words)))


def has_contrast(agent: str, series_words: str) -> bool:
    """Say whether agent or words tell of contrast; "C-", "NONE", "NO" and their like mean none."""
    named = fold(agent)
    if "+" in agent or (named not in _NO_AGENT and not _NOT_ENHANCED.search(named)):
        return True
    words = fold(series_words)
    if _NOT_ENHANCED.search(words):
        return False
    return bool(_ENHANCED.search(words) or _PLUS.search(series_words.casefold()))


def is_sharp(kernel: str, series_words: str) -> bool:
    """Say whether a kernel is for bone or lung, whoever made it; words count where the kernel is unknown."""
    name = kernel.strip().upper()
    known = _kernel_is_sharp(name)
    return bool(_BONE_WORDS.search(fold(series_words))) if known is None else known


def _kernel_is_sharp(name: str) -> bool | None:
    if toshiba := _TOSHIBA_CANON.match(name):
        return any(int(toshiba[1]) in sharp for sharp in _TOSHIBA_SHARP)
    if name in _PHILIPS_SHARP or _NAMED_SHARP.search(name):
        return True
    if siemens := _SIEMENS.match(name):
        return int(siemens[2]) >= _SIEMENS_SHARP
    return False if _NAMED_SOFT.match(name) else None
