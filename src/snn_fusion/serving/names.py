"""Names of people: which ones a token may carry, and which ones a reader would take for each other.

After Unicode Technical Standard 39, with a table of its own for the letters of Cyrillic, Greek and Armenian that look
like Latin ones.
"""

from __future__ import annotations

import unicodedata

LONGEST = 128  # characters of a subject or a token's name
USABLE = f"1 ... {LONGEST} printable characters of one script, in normal form (NFKC), without spaces at the ends"
TOGETHER = (
    frozenset({"LATIN", "HIRAGANA", "KATAKANA", "CJK"}),
    frozenset({"LATIN", "HANGUL", "CJK"}),
    frozenset({"LATIN", "BOPOMOFO", "CJK"}),
)
# fmt: off
ALIKE = str.maketrans(
    "аеорсухіјѕԁԛԝһӏьвкмнтгпѵ" "αοορνυικτηχωγεβμ" "օոսհցզքո" "01|ıɩɑɡ",
    "aeopcyxijsdqwhlbbkmhtrnv" "aoopvuiktnxwyebu" "ounhgqpn" "ollliag",
)
# fmt: on
CAPITAL_I = "I\u0406\u0399"  # Latin, Cyrillic, Greek


def usable(name: object) -> bool:
    """Whether a token may carry this name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or not name.isprintable():
        return False
    return name == name.strip() and name == unicodedata.normalize("NFKC", name) and _one_script(name)


def alike(one: str, other: str) -> bool:
    """Whether these are one name but for case, spaces, forms of the same letters, and letters that look the same."""
    return _folded(one) == _folded(other) or _skeleton(one) == _skeleton(other)


def _one_script(name: str) -> bool:
    scripts = {unicodedata.name(c, "UNKNOWN").split()[0] for c in name if c.isalpha()}
    return len(scripts) <= 1 or any(scripts <= some for some in TOGETHER)


def _folded(name: str) -> str:
    """Without case, spaces, what cannot be seen, and the differences between dashes."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = (c for c in plain if not c.isspace() and not _invisible(c))
    return "".join("-" if unicodedata.category(c) == "Pd" else c for c in seen)


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") or "VARIATION SELECTOR" in unicodedata.name(character, "")


def _skeleton(name: str) -> str:
    """As it looks: of capitals first, since a capital I is taken for an l, and a small i is not."""
    plain = unicodedata.normalize("NFKC", name)
    return _folded("".join("l" if c in CAPITAL_I else c for c in plain)).translate(ALIKE)
