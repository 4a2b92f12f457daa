"""Which messages of an owner: by folder, by date received, by text. What restore and export have in common.

What goes away meanwhile is not there; what an IMAP server renames meanwhile (a flag that changes) is found again.
"""

import argparse
import email
import email.errors
import email.header
import email.parser
import errno
import html
import os
import re
import stat
import time
import unicodedata

from . import cli, files, owners
from .spool import Message

# How often a folder is listed that changes meanwhile.
LISTINGS_MAX = 5

# A larger file is no message, octets; it would not fit into the memory.
MESSAGE_LEN_MAX = 4 << 30

# Of a header, octets: enough to find a subject.
HEADER_SHOWN = 65536

# Nothing in it composes with what is before: it begins with ASCII, or what is before is longer than any word.
PIECE = re.compile(r"[\x00-\x7f]+[^\x00-\x7f]{0,1000}|[^\x00-\x7f]{1,1000}")

# Of dates that a file may have: those that a calendar has, Unix time in seconds.
DATE_MAX = 253_000_000_000

DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?\Z")


def add_options(parser):
    """The options that select."""
    group = parser.add_argument_group("which messages (without any: all)")
    group.add_argument(
        "--folder",
        metavar="F",
        action="append",
        default=[],
        help="only this folder (INBOX, Work/Reports; Work/* is Work with all below it); may be given several times",
    )
    group.add_argument("--since", metavar="D", type=_since, help="received on this day or later (2025-01-31, or 2025-01-31T14:30)")
    group.add_argument("--until", metavar="D", type=_until, help="received on this day or before (with a time: before that moment)")
    group.add_argument(
        "--match",
        metavar="TEXT",
        action="append",
        default=[],
        help="only messages with this text in the header or the text, whatever the case; given several times: with all of them",
    )


def _since(text):
    return _moment(text, 0)


def _until(text):
    # The moment at which the day is over.
    return _moment(text, 1)


def _moment(text, days):
    """Local time, as Unix time in seconds; a day without a time: its beginning, or that of the one so many days later."""
    found = DAY.match(text)
    if not found:
        raise _wrong(text)
    year, month, day, hour, minute, second = (int(group or 0) for group in found.groups())
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        raise _wrong(text)
    later = 0 if found[4] else days
    try:
        moment = time.mktime((year, month, day + later, hour, minute, second, 0, 0, -1))
        # mktime takes the 31st of April for the first of May.
        back = time.localtime(time.mktime((year, month, day, 12, 0, 0, 0, 0, -1)))
    except (OverflowError, ValueError):
        raise _wrong(text) from None
    if back.tm_mon != month:
        raise _wrong(text)
    return moment


def _wrong(text):
    return argparse.ArgumentTypeError(f"{text!r} is no date: write 2025-01-31, or 2025-01-31T14:30")


class Selection:
    """What the options say about this owner's Maildir."""

    def __init__(self, maildir, options):
        self.maildir = maildir
        self.since, self.until = options.since, options.until
        self.texts = [folded(text) for text in options.match]
        self.folders = self._folders(options.folder)
        # What could not be read, as sentences.
        self.failed = []

    def _folders(self, wanted):
        there = self.maildir.folders()
        if not wanted:
            return there
        chosen = set()
        for name in wanted:
            below = name.endswith(("/*", ".*"))
            folder = owners.folder_dir(name[:-2] if below else name)
            found = {other for other in there if other == folder or (below and other.startswith(folder + "."))}
            if not found:
                known = ", ".join(owners.folder_title(other) for other in there)
                raise cli.Stop(f"{cli.printable(name)}: {self.maildir.title()} has no such folder; there are {cli.printable(known)}")
            chosen |= found
        return [folder for folder in there if folder in chosen]

    def messages(self, progress=None):
        """Those selected, as Found, folder by folder, the oldest first. What cannot be read is told in `failed`."""
        looked = 0
        for folder in self.folders:
            found = []
            for message in self._listed(folder):
                looked += 1
                if progress:
                    progress.show(f"looking through {owners.folder_title(folder)}: {looked:,} messages")
                try:
                    opened = open_message(self.maildir, message)
                    if opened is None:
                        continue
                    file, message = opened
                    with file:
                        if self._wants(file):
                            found.append(Found(message, os.fstat(file.fileno())))
                except OSError as why:
                    self.failed.append(cli.sentence(why))
            found.sort(key=lambda one: (one.date, one.message.name))
            yield from found

    def _listed(self, folder):
        """What lies in a folder, each once. A listing during which a mail server renames may have a file twice, or not at all: it is made again."""
        by_base = {}
        for _ in range(LISTINGS_MAX):
            before = self._changed(folder)
            for message in self.maildir.messages(folder):
                if not message.name.startswith("."):
                    by_base[message.name.partition(":2,")[0]] = message
            if self._changed(folder) == before:
                break
        return [by_base[base] for base in sorted(by_base)]

    def _changed(self, folder):
        """When names last came to the folder or went."""
        times = []
        for sub in ("new", "cur"):
            try:
                times.append(os.stat(os.path.join(self.maildir.dir, folder, sub)).st_mtime_ns)
            except FileNotFoundError:
                times.append(None)
        return times

    def _wants(self, file):
        date = os.fstat(file.fileno()).st_mtime
        if (self.since is not None and date < self.since) or (self.until is not None and date >= self.until):
            return False
        return not self.texts or holds(file.read(), self.texts)


class Found:
    """A message that was selected."""

    __slots__ = ("message", "date", "size")

    def __init__(self, message, status):
        self.message = message
        # Received, Unix time in seconds.
        self.date = min(max(status.st_mtime, 0), DATE_MAX)
        # Octets of the file.
        self.size = status.st_size


def open_message(maildir, message):
    """The message's file, open for reading, and the message under its present name; none where it is gone."""
    for _ in range(3):
        try:
            return _open(message.path, maildir), message
        except FileNotFoundError:
            message = _renamed(maildir, message)
            if message is None:
                return None
        except OSError as why:
            if why.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                # No message: a link may lead anywhere, and a socket or a folder is no file.
                return None
            raise
    return None


def _open(path, maildir):
    file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
        if status.st_size > MESSAGE_LEN_MAX:
            raise OSError(errno.EFBIG, f"is larger than {cli.amount(MESSAGE_LEN_MAX)}: no message", path)
        files.not_for_root(file.fileno(), maildir.spool, path)
    except OSError:
        file.close()
        raise
    return file


def _renamed(maildir, message):
    """The same message under another name: what stands before `:2,` never changes."""
    base = message.name.partition(":2,")[0]
    for sub in ("cur", "new"):
        place = os.path.join(maildir.dir, message.folder, sub)
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.partition(":2,")[0] == base:
                        return Message(message.folder, sub, entry.name, entry.path)
        except FileNotFoundError:
            pass
    return None


def read(maildir, message):
    """The message's bytes, and the message under its present name; none where it is gone."""
    opened = open_message(maildir, message)
    if opened is None:
        return None
    file, message = opened
    with file:
        return file.read(), message


def title(maildir, found):
    """A message for people: date received, size, subject."""
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.date))
    subject = ""
    try:
        opened = open_message(maildir, found.message)
        if opened:
            with opened[0] as file:
                subject = field(file.read(HEADER_SHOWN), "Subject")
    except OSError:
        pass
    return f"{date}, {cli.amount(found.size)}, {cli.printable(subject[:80]) or 'without a subject'}"


def field(message, name):
    """A field of the header, decoded; nothing where there is none."""
    try:
        header = email.parser.BytesHeaderParser().parsebytes(message)
        return next((decoded(value) for key, value in header.raw_items() if key.lower() == name.lower()), "").strip()
    except (ValueError, LookupError, TypeError, AttributeError, email.errors.MessageError):
        return ""


def folded(text):
    """Without regard to case, to the way an accent is written, and to how blanks and lines are divided."""
    return " ".join(composed(composed(text).casefold()).split())


def composed(text):
    """In NFC, piece by piece: Python takes the square of the time for many accents in a row."""
    return "".join(unicodedata.normalize("NFC", piece) for piece in PIECE.findall(text))


def holds(message, texts):
    """Whether all these (folded) texts stand in the message's header or text."""
    missing = set(texts)
    for part in readable(message):
        part = folded(part)
        missing -= {text for text in missing if text in part}
        if not missing:
            return True
    return not missing


def readable(message):
    """What a person reads of a message, decoded: the header fields, the names of the parts, the texts."""
    try:
        parsed = email.message_from_bytes(message)
        for number, part in enumerate(parsed.walk()):
            for name, value in part.raw_items():
                yield f"{name}: {decoded(value)}" if number == 0 else decoded(value)
            if part.get_content_maintype() != "text":
                continue
            text = _text(part)
            yield text
            if part.get_content_subtype() == "html":
                yield html.unescape(without_tags(text))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, email.errors.MessageError):
        # However broken it is, it may be what is looked for.
        yield message.decode("utf-8", "replace")


TAG_HIDING = re.compile(r"<(?:style|script)\b")
TAG_HIDING_END = re.compile(r"</(?:style|script)\s{0,100}>")


def without_tags(text):
    """HTML as a person reads it, about. In one go through the text, whoever wrote it."""
    out, at, hides = [], 0, True
    while True:
        start = text.find("<", at)
        if start < 0:
            break
        hidden = TAG_HIDING_END.search(text, start) if hides and TAG_HIDING.match(text, start) else None
        # Where none ends, none that begins later does.
        hides = hides and (hidden is not None or not TAG_HIDING.match(text, start))
        end = hidden.end() if hidden else text.find(">", start) + 1
        if not end:
            break
        out.append(text[at:start])
        at = end
    return " ".join([*out, text[at:]])


def _text(part):
    data = part.get_payload(decode=True) or b""
    charset = part.get_content_charset() or "utf-8"
    try:
        return data.decode(charset)
    except (LookupError, ValueError):
        pass
    try:
        return data.decode("utf-8")
    except ValueError:
        return data.decode("latin-1")


ENCODED = r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?="
ENCODED_RUN = re.compile(rf"{ENCODED}(?:\s+{ENCODED})*")


def decoded(value):
    """A header field's text, unfolded; bytes beyond ASCII (as surrogates) are taken for UTF-8, else for Latin-1."""
    data = value.encode("utf-8", "surrogateescape")
    try:
        text = data.decode("utf-8")
    except ValueError:
        text = data.decode("latin-1")
    return ENCODED_RUN.sub(_words, text.replace("\r", "").replace("\n", ""))


def _words(found):
    """RFC 2047. Words that follow one another may divide a character, so they are decoded together."""
    try:
        return "".join(data.decode(charset or "ascii") for data, charset in email.header.decode_header(found[0]))
    except (ValueError, LookupError, email.errors.MessageError):
        return found[0]
