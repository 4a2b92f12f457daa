"""Names of files that every system takes: Windows, macOS, Linux, and whatever unpacks a .zip."""

import re
import unicodedata

# What Windows takes for a device, whatever follows the first dot.
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\Z")
# A name's longest, characters and octets: 255 is the limit, and Windows counts the whole path.
LEN_MAX = 100
OCTETS_MAX = 180


def safe(text, fallback):
    """The text as a file's name, without an extension."""
    out = []
    for c in unicodedata.normalize("NFC", text):
        if c in '<>:"/\\|?*' or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            c = " "
        out.append(c)
    name = " ".join("".join(out).split())[:LEN_MAX]
    name = name.encode()[:OCTETS_MAX].decode("utf-8", "ignore")
    # Windows drops dots and blanks at the end, and Unix hides what begins with a dot.
    name = name.rstrip(". ").lstrip(". ")
    if not name:
        return fallback
    return "_" + name if DEVICES.match(name.partition(".")[0].rstrip()) else name


class Unique:
    """Gives each name once, also where capital letters and ways to write an accent make no difference."""

    def __init__(self):
        self.taken = set()
        self.numbers = {}

    def give(self, name, extension=""):
        candidate = name + extension
        base = self._same(candidate)
        number = self.numbers.get(base, 1)
        while self._same(candidate) in self.taken:
            number += 1
            candidate = f"{name} ({number}){extension}"
        self.numbers[base] = number
        self.taken.add(self._same(candidate))
        return candidate

    @staticmethod
    def _same(name):
        return unicodedata.normalize("NFD", unicodedata.normalize("NFC", name).casefold())
