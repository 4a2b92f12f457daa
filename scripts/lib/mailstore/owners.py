"""Owners, and what they and their folders are called on disk: src/archive/{owner,template,safe,folder}.rs in Python.

An owner is bytes, `user@domain` in lower case.
"""

import base64
import hashlib
import os
import re

NAME_LEN_MAX = 255
SHORTENED = re.compile(r"%~[0-9a-fA-F]{64}\Z")


def owner_of(login, default_domain="localhost"):
    """The owner for an address or login: bytes or text in, bytes out."""
    login = os.fsencode(login) if isinstance(login, str) else login
    user, at, domain = login.rpartition(b"@")
    if not at:
        user, domain = login, b""
    domain = domain or os.fsencode(default_domain)
    return lower(user + b"@" + domain)


def lower(name):
    """In lower case, where that can be undone: the Kelvin sign does not become a k."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return name.lower()

    def small(c):
        low = c.lower()
        return low if len(low) == 1 and low.upper() == c else c

    return "".join(map(small, text)).encode("utf-8")


class Template:
    """The key `maildir`."""

    def __init__(self, text):
        self.text = text
        self.components = [self._parse(component) for component in text.split("/")]

    @staticmethod
    def _parse(component):
        """Pieces: text as it stands, or (letter,)."""
        if not component or component.startswith("."):
            raise ValueError("has an empty level, or one that begins with a dot")
        pieces = []
        for part in re.findall(r"%.?|[^%]+", component, re.S):
            if part in ("%u", "%n", "%d"):
                pieces.append((part[1],))
            elif part == "%%":
                pieces.append("%")
            elif part.startswith("%"):
                raise ValueError(f"has {part}, which is not %u, %n or %d")
            else:
                pieces.append(part)
        return pieces

    def depth(self):
        """How many folders deep the Maildirs lie below the spool."""
        return len(self.components)

    def leads(self, depth, name):
        """Whether a folder of this name at this depth (from 0) can lead to a Maildir."""
        pieces = self.components[depth]
        return name == "".join(pieces) if all(isinstance(piece, str) for piece in pieces) else True

    def path(self, owner):
        """The owner's Maildir below the spool."""
        user, _, domain = owner.rpartition(b"@")
        values = {"u": escape(owner), "n": escape(user), "d": escape(domain)}
        names = ("".join(p if isinstance(p, str) else values[p[0]] for p in pieces) for pieces in self.components)
        return "/".join(map(fit, names))

    def owner(self, path):
        """The owner whose Maildir lies at this path below the spool; none where the path does not tell (a name that was too long)."""
        values = {}
        for pieces, name in zip(self.components, path.split("/")):
            if SHORTENED.search(name):
                continue
            pattern, letters = "", []
            for piece in pieces:
                if isinstance(piece, str):
                    pattern += re.escape(piece)
                elif piece[0] in letters:
                    pattern += f"(?P={piece[0]})"
                else:
                    letters.append(piece[0])
                    # A domain holds no @.
                    pattern += f"(?P<{piece[0]}>{'[^@]+' if piece[0] == 'd' else '.+'})"
            found = re.fullmatch(pattern, name, re.S)
            if found:
                values.update(found.groupdict())
        if "u" in values:
            owner = unescape(values["u"])
        elif "n" in values and "d" in values:
            owner = unescape(values["n"]) + b"@" + unescape(values["d"])
        else:
            return None
        return owner if self.path(owner) == path else None


def escape(value):
    """A value as a folder's name."""
    if not value:
        return "%empty"
    out = []
    for c in value.decode("utf-8", "surrogateescape"):
        if harmful(c) or (c == "." and not out):
            out.extend(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogateescape"))
        else:
            out.append(c)
    return "".join(out)


def unescape(name):
    """The value that `escape` was given."""
    if name == "%empty":
        return b""
    data = os.fsencode(name)
    return re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), data)


def fit(name):
    """The name, or where it is too long its beginning and its hash."""
    data = name.encode("utf-8")
    if len(data) <= NAME_LEN_MAX and not SHORTENED.search(name):
        return name
    start = data[: NAME_LEN_MAX - 66].decode("utf-8", "ignore")
    return start + "%~" + hashlib.sha256(data).hexdigest()


def harmful(c):
    code = ord(c)
    return (
        c in "/%"
        or code < 0x20
        or 0x7F <= code < 0xA0
        or code in (0xAD, 0x61C, 0xFEFF)
        or 0x200B <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2060 <= code <= 0x206F
        or 0xDC80 <= code <= 0xDCFF
    )


def folder_dir(name):
    """The Maildir++ folder (`.Work.Reports`) that a person means by `Work/Reports`; "" is the inbox."""
    levels = [encode_utf7(level) for level in re.split(r"[/.]", name) if level]
    if not levels or (len(levels) == 1 and levels[0].upper() == "INBOX"):
        return ""
    return dir_of_levels([level.encode("ascii") for level in levels])


def dir_of_levels(levels):
    """The Maildir++ folder of these levels, each the bytes of a name in modified UTF-7; none is the inbox."""
    if not levels or (len(levels) == 1 and levels[0].upper() == b"INBOX"):
        return ""
    name = ""
    for level in levels:
        name += "."
        if not level:
            name += "%empty"
        for byte in level:
            plain = 0x20 <= byte <= 0x7E and byte not in b"./%"
            name += chr(byte) if plain else f"%{byte:02X}"
    return fit(name)


def folder_levels(name):
    """The levels of a Maildir++ folder, each the bytes of a name in modified UTF-7; none for the inbox."""
    return [unescape(level) for level in name.split(".")[1:]]


def folder_title(name):
    """A Maildir++ folder for people: `Work/Reports`, or INBOX."""
    return "/".join(decode_utf7(level) for level in folder_levels(name)) or "INBOX"


def encode_utf7(text):
    """RFC 3501 section 5.1.3."""
    out, wide = [], ""

    def flush(wide):
        return "&" + base64.b64encode(wide.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-" if wide else ""

    for c in text:
        if " " <= c <= "~":
            out.append(flush(wide) + ("&-" if c == "&" else c))
            wide = ""
        else:
            wide += c
    return "".join(out) + flush(wide)


def decode_utf7(name):
    """The text; what is no modified UTF-7 stays as it is."""

    def wide(found):
        if not found[1]:
            return "&"
        data = found[1].replace(b",", b"/")
        return base64.b64decode(data + b"=" * (-len(data) % 4)).decode("utf-16-be")

    # Nothing but text between `&` and `-` is looked at, so the rest is decoded apart.
    parts = re.split(rb"(&[A-Za-z0-9+,]*-)", name)
    try:
        return "".join(
            wide(re.fullmatch(rb"&(.*)-", part)) if index % 2 else part.decode("utf-8", "backslashreplace")
            for index, part in enumerate(parts)
        )
    except ValueError:
        return name.decode("utf-8", "backslashreplace")
