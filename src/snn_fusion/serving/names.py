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
    "аеорсухіјѕԁԛԝһӏьвкмнтгпѵ" "αοορνυικτηχωγεβμ" "օոսհցզքո" "01|ıɩɑɡ" "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ",
    "aeopcyxijsdqwhlbbkmhtrnv" "aoopvuiktnxwyebu" "ounhgqpn" "ollliag" "abcdefghijklmnopqrstuvwyz",
)
# Unicode 15's Default_Ignorable_Code_Point, which shows nothing; and the braille pattern without a dot.
IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
    (0x2800, 0x2800),
)
# fmt: on
CLOSE = str.maketrans({"m": "rn", "w": "vv"})
CAPITAL_I = "I\u0406\u0399"  # Latin, Cyrillic, Greek


def usable(name: object) -> bool:
    """Whether a token may carry this name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or not name.isprintable():
        return False
    if any(_invisible(c) for c in name):
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
    shown = not any(first <= ord(character) <= last for first, last in IGNORABLE)
    return not shown or unicodedata.category(character) in ("Cc", "Cf")


def _skeleton(name: str) -> str:
    """As it looks: of capitals first, since a capital I is taken for an l, and a small i is not; then what two letters
    look like that stand close, rn as m and vv as w.
    """
    plain = unicodedata.normalize("NFKC", name)
    return _folded("".join("l" if c in CAPITAL_I else c for c in plain)).translate(ALIKE).translate(CLOSE)
