"""Which of an owner's messages an IMAP account has already.

Two messages are the same if the fields that tell messages apart are: Message-ID, Date, From, To, Subject and all Received. So two copies of
a message that came by two ways are two messages. Where those fields tell too little (a message without Message-ID and Received; several in the archive
with the same), the contents are compared, without what servers change: line ends, a last empty line, the field that mbsync adds.
"""

import hashlib
import re

from .imap import FIELDS
from .select import open_message, read

# Octets in which a header has to end.
HEADER_LEN_MAX = 1 << 20

FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
X_TUID = re.compile(rb"(?im)^X-TUID:[^\n]*\n")


class Key:
    """What tells a message from others."""

    __slots__ = ("id", "rest", "clear")

    def __init__(self, header):
        found = {name.encode(): [] for name in FIELDS}
        values = None
        for line in header.splitlines():
            if line[:1] in (b" ", b"\t"):
                if values is not None and line.strip():
                    values[-1] += b" " + line
                continue
            if not line:
                break
            field = FIELD.match(line)
            values = found.get(field[1].upper()) if field else None
            if values is not None:
                values.append(line[field.end() :])
        found = {name: [b" ".join(value.split()) for value in values] for name, values in found.items()}
        ids = found.pop(b"MESSAGE-ID")
        self.id = ids[0] if ids else b""
        # Not as it is: ten thousand of them would need much memory.
        self.rest = hashlib.sha256(repr(sorted(found.items())).encode()).digest()
        # Whether the fields alone are enough.
        self.clear = bool(self.id or found[b"RECEIVED"])


class Wanted:
    """A message that is to be in the account."""

    __slots__ = ("found", "key", "size", "content")

    def __init__(self, found, key):
        self.found = found
        self.key = key
        self.content = None


def header_of(maildir, message):
    """The message's header; none where the message is gone."""
    opened = open_message(maildir, message)
    if opened is None:
        return None
    file, _ = opened
    with file:
        data = file.read(16384)
        while len(data) < HEADER_LEN_MAX and not re.search(rb"\r?\n\r?\n", data):
            more = file.read(65536)
            if not more:
                break
            data += more
    return data


def content(message):
    """A hash of what no server changes."""
    header, blank, body = _divide(re.sub(rb"(?<!\r)\r*\n", b"\n", message).replace(b"\0", b"\x80"))
    header = X_TUID.sub(b"", header)
    return hashlib.sha256(header + blank + body.rstrip(b"\n")).digest()


def _divide(message):
    end = message.find(b"\n\n")
    return (message, b"", b"") if end < 0 else (message[: end + 1], b"\n", message[end + 2 :])


class Comparison:
    """The messages of the archive for one folder of the account, and what lies in the account."""

    def __init__(self, maildir, account):
        self.maildir, self.account = maildir, account
        self._theirs = {}

    def missing(self, wanted, there):
        """Those of `wanted` that are not in `there`."""
        by_rest, by_size = {}, {}
        keys = {}
        for one in there:
            key = keys[one] = Key(one.header)
            by_rest.setdefault(key.rest, []).append(one)
            by_size.setdefault(one.size, []).append(one)
        groups = {}
        for one in wanted:
            groups.setdefault((one.key.id, one.key.rest), []).append(one)
        used, missing = set(), []
        for (wanted_id, rest), group in groups.items():
            # A server may give a message an id that it came without.
            candidates = [one for one in by_rest.get(rest, ()) if one not in used and wanted_id in (b"", keys[one].id)]
            left = group
            if len(group) > 1 or not group[0].key.clear:
                left = self._unmatched(group, candidates, used)
                candidates = [one for one in candidates if one not in used]
            if group[0].key.clear:
                # What a server changed in them does not make them others.
                taken = min(len(left), len(candidates))
                used.update(candidates[:taken])
                left = left[taken:]
            missing += left
        # A header that the server reads in another way than we do: then the contents decide.
        absent = []
        for one in missing:
            size = self._wire_size(one) if by_size else None
            same_size = [other for other in by_size.get(size, ()) if other not in used]
            if self._unmatched([one], same_size, used):
                absent.append(one)
        return sorted(absent, key=lambda one: (one.found.date, one.found.message.name))

    def each_once(self, wanted):
        """Of several that are the same, one. A message that differs from another in its line ends only is that one (POP3 adds the last)."""
        groups, once = {}, []
        for one in wanted:
            groups.setdefault((one.key.id, one.key.rest), []).append(one)
        for group in groups.values():
            if len(group) == 1:
                once += group
                continue
            seen = set()
            for one in group:
                ours = self._ours(one)
                if ours not in seen:
                    seen.add(ours)
                    once.append(one)
        return once

    def _unmatched(self, wanted, candidates, used):
        by_content = {}
        for other in candidates:
            by_content.setdefault(self._content(other), []).append(other)
        left = []
        for one in wanted:
            same = by_content.get(self._ours(one)) if by_content else None
            if same:
                used.add(same.pop())
            else:
                left.append(one)
        return left

    def _ours(self, one):
        if one.content is None:
            got = read(self.maildir, one.found.message)
            one.content = content(got[0]) if got else b"gone"
        return one.content

    def _content(self, there):
        if there not in self._theirs:
            data = self.account.content(there)
            self._theirs[there] = content(data) if data is not None else None
        return self._theirs[there]

    def _wire_size(self, one):
        """What an IMAP server says of its size: with CRLF at every line's end."""
        got = read(self.maildir, one.found.message)
        return len(re.sub(rb"\r?\n", b"\r\n", got[0])) if got else None
