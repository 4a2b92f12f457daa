"""Mail that lies elsewhere: Maildirs (Maildir++, plain, or folders in folders), mbox files, .eml files, .zip files of them.

Each message comes as an Item, folder by folder. What it is, is seen by looking: a Maildir has `cur` or `new`, an mbox begins with `From `, a .zip
with its sign. Nothing is changed.
"""

import email.parser
import email.utils
import errno
import os
import re
import stat
import struct
import time
import zipfile
import zlib

from . import cli, files, mbox, owners

FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)\Z")
# What mail programs put into the header of a message in an mbox; it never was the message's.
MBOX_FIELDS = re.compile(
    rb"(?im)^(?:Status|X-Status|X-Keywords|X-UID|X-IMAP|X-IMAPbase|X-Mozilla-Status2?|X-Mozilla-Keys|Content-Length):[^\n]*\n(?:[ \t][^\n]*\n)*"
)
# What Thunderbird puts before a message, and its From_ line.
THUNDERBIRD = re.compile(rb"(?i)(?:(?:X-Account-Key|X-UIDL|X-Mozilla-[A-Za-z0-9-]+):[^\n]*\n(?:[ \t][^\n]*\n)*)*")
FROM_THUNDERBIRD = re.compile(rb"From (?:-|\r?\n)")
DOUBTFUL_DATE = 86400 * 366
# A larger file is no message, octets.
MESSAGE_LEN_MAX = 1 << 30
# What reading a message, or what holds it, may raise. (A .zip that is encrypted: RuntimeError.)
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, struct.error)
# Files in a mail program's folder that hold no messages.
NO_MAIL = (".msf", ".dat", ".json", ".sqlite", ".html", ".log", ".txt", ".index", ".cache")


class Item:
    """A message of the source, not read yet."""

    __slots__ = ("levels", "title", "read", "flags", "seen_before", "date", "date_else", "name")

    def __init__(self, levels, title, read, flags="", seen_before=False, date=None, date_else=None, name=""):
        # The folder, each level the bytes of a name in modified UTF-7.
        self.levels = levels
        # For people.
        self.title = title
        # Gives the bytes, as they are or (given False) without what the mail program that wrote the file added. Raises one of UNREADABLE.
        self.read = read
        # Maildir's letters.
        self.flags = flags
        # It lies in a `cur`: a program has shown it.
        self.seen_before = seen_before
        # Received, Unix time in seconds; none: by the message's header, and where that tells nothing, `date_else`.
        self.date = date
        self.date_else = date_else
        # The file's name in a Maildir, which may prove what it holds.
        self.name = name


class Sources:
    """Walks through a source. `failed` are sentences about what could not be read; `skipped` about what holds no mail."""

    def __init__(self, as_root):
        self.as_root = as_root
        # The folder that is gone through.
        self.top = None
        # Folders that were gone through: links may lead in circles.
        self.visited = set()
        self.failed = []
        self.skipped = []

    def items(self, path):
        """All messages below this path."""
        with self.as_root:
            status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            self.top = path
            found = list(self._folders(path, []))
            if not found:
                raise cli.Stop(f"{cli.printable(path)}: holds no Maildir, no mbox, no .eml and no .zip file")
            if not self._is_maildir(path) and any(kind == "maildir" and b"@" in levels[-1] for levels, kind, _ in found):
                raise cli.Stop(f"{cli.printable(path)}: holds Maildirs of several owners: import each by itself (docs/import.md has the loop)")
            for levels, kind, place in found:
                yield from self._of(kind, place, levels)
            return
        kind = self._kind(path)
        if kind is None:
            raise cli.Stop(f"{cli.printable(path)}: is no mbox, no .eml and no .zip file (an mbox begins with a line 'From ...')")
        yield from self._of(kind, path, [])

    def _of(self, kind, path, levels):
        try:
            yield from getattr(self, "_" + kind)(path, levels)
        except UNREADABLE as why:
            self.failed.append(sentence(cli.printable(path), why))

    def _entries(self, path):
        with self.as_root, os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    def _is_maildir(self, path):
        with self.as_root:
            return any(os.path.isdir(os.path.join(path, sub)) for sub in ("cur", "new"))

    def _folders(self, path, levels):
        """What holds messages below a folder, outermost first: (levels, kind, path)."""
        with self.as_root:
            status = os.stat(path)
        if (status.st_dev, status.st_ino) in self.visited:
            return
        self.visited.add((status.st_dev, status.st_ino))
        maildir = self._is_maildir(path)
        if maildir:
            yield levels, "maildir", path
        try:
            entries = self._entries(path)
        except OSError as why:
            self.failed.append(cli.sentence(why))
            return
        for entry in entries:
            with self.as_root:
                is_dir, is_file = entry.is_dir(), entry.is_file()
            if is_dir:
                below = self._below(entry, levels, maildir)
                if below is not None:
                    yield from self._folders(entry.path, below)
            # What lies beside cur and new is the server's.
            elif is_file and not maildir and not entry.name.startswith("."):
                kind = self._kind_or_none(entry.path, entry.name.lower().endswith(NO_MAIL))
                if kind == "eml":
                    yield levels, kind, entry.path
                elif kind == "zip":
                    yield levels, kind, entry.path
                elif kind == "mbox":
                    name = re.sub(r"(?i)\.(mbox|mbx)\Z", "", entry.name)
                    # Apple Mail exports a folder `Work.mbox` with a file `mbox` in it.
                    yield (levels if name == "mbox" and levels else [*levels, level(name)]), kind, entry.path

    def _below(self, entry, levels, in_maildir):
        """The levels of a folder in a folder; none for one that is none."""
        name = entry.name
        if name in ("cur", "new", "tmp") and in_maildir and not self._is_maildir(entry.path):
            return None
        if name.startswith("."):
            # Maildir++; other hidden folders hold no mail.
            return [*levels, *plus_levels(name)] if len(name) > 1 and self._is_maildir(entry.path) else None
        return [*levels, level(re.sub(r"(?i)\.(sbd|mbox)\Z", "", name))]

    def _kind_or_none(self, path, hardly):
        try:
            kind = self._kind(path)
        except OSError as why:
            self.failed.append(cli.sentence(why))
            return None
        # A folder of mail may well be called `firewall.log`; what is no mbox is told of by nobody.
        if hardly and kind != "mbox":
            return None
        if kind is None:
            self.skipped.append(f"{cli.printable(path)}: holds no mail")
        return kind

    def _kind(self, path):
        with self._open(path) as file:
            start = file.read(65536)
        if start.startswith(b"PK\3\4") or start.startswith(b"PK\5\6"):
            return "zip"
        if start.startswith(b"From "):
            return "mbox"
        return "eml" if looks_like_message(start) else None

    def _open(self, path):
        with self.as_root:
            file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))
            try:
                if self.top is not None:
                    files.not_for_root(file.fileno(), self.top, path)
            except OSError:
                file.close()
                raise
            return file

    def _maildir(self, path, levels):
        found = []
        for sub in ("new", "cur"):
            try:
                entries = self._entries(os.path.join(path, sub))
            except FileNotFoundError:
                continue
            for entry in entries:
                try:
                    with self.as_root:
                        status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not entry.name.startswith(".") and not stat.S_ISDIR(status.st_mode):
                    found.append((status.st_mtime, sub, entry))
        # The oldest first, as they came: mail servers number them in this order.
        found.sort(key=lambda one: (one[0], one[2].name))
        for date, sub, entry in found:
            flags = FLAGS.search(entry.name)
            letters = "".join(sorted(set(flags[1]) & set("DFPRST"))) if flags else ""

            def read(_, entry=entry):
                return self._read_renamed(entry.path, entry.name, path)

            yield Item(levels, cli.printable(entry.path), read, letters, sub == "cur", date if plausible(date) else None, name=entry.name)

    def _read_renamed(self, path, name, maildir):
        """A mail server may rename the file meanwhile."""
        for _ in range(3):
            try:
                return self._read(path)
            except FileNotFoundError:
                base = FLAGS.sub("", name)
                for sub in ("cur", "new"):
                    for entry in self._entries(os.path.join(maildir, sub)):
                        if FLAGS.sub("", entry.name) == base:
                            path = entry.path
        raise FileNotFoundError(errno.ENOENT, "is gone since it was listed", path)

    def _read(self, path):
        with self._open(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("is no file")
            check_size(status.st_size)
            return file.read()

    def _mbox(self, path, levels):
        with self._open(path) as file:
            for number, (line, message) in enumerate(mbox.messages(file), 1):
                header, blank, body = divide(message)
                if number == 1 and re.search(rb"(?im)^X-IMAP(base)?:", header) and b"FOLDER INTERNAL DATA" in header:
                    # A note of a mail server's to itself.
                    continue
                status = mbox_flags(header, line)
                if status is None:
                    # Thunderbird has deleted it, and not tidied up.
                    continue

                def read(as_is, message=message, parts=(header, blank, body)):
                    return message if as_is else MBOX_FIELDS.sub(b"", parts[0]) + parts[1] + parts[2]

                yield Item(levels, f"{cli.printable(path)}, message {number}", read, status[0], status[1], mbox_date(line))

    def _eml(self, path, levels):
        with self._open(path) as file:
            written = os.fstat(file.fileno()).st_mtime
        yield Item(levels, cli.printable(path), lambda _: self._read(path), date_else=written if plausible(written) else None)

    def _zip(self, path, levels):
        with self._open(path) as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                title = f"{cli.printable(path)}: {cli.printable(info.filename)}"
                parts = [part for part in info.filename.split("/") if part not in ("", ".", "..")]
                if not parts or info.is_dir():
                    continue
                if not parts[-1].lower().endswith(".eml"):
                    self.skipped.append(f"{title}: is no .eml file")
                    continue

                def read(_, info=info):
                    check_size(info.file_size)
                    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                        # The others unpack some kilobytes to gigabytes before anybody counts.
                        raise ValueError("is packed in a way that is not read here; unpack it, and import the folder")
                    return archive.read(info)

                yield Item([*levels, *map(level, parts[:-1])], title, read, date=zip_date(info))


def check_size(octets):
    if octets > MESSAGE_LEN_MAX:
        raise ValueError(f"is larger than {cli.amount(MESSAGE_LEN_MAX)}: no message")


def sentence(title, why):
    """What could not be read, and why."""
    if isinstance(why, OSError) and why.filename:
        return cli.sentence(why)
    return f"{title}: {getattr(why, 'strerror', None) or why}"


def level(name):
    """A level of a folder's name in modified UTF-7: one that is already stays so."""
    data = os.fsencode(name)
    text = data.decode("utf-8", "replace")
    if all(0x20 <= byte < 0x7F for byte in data):
        plain = owners.decode_utf7(data)
        if owners.encode_utf7(plain) == text:
            return data
    return owners.encode_utf7(text).encode("ascii")


def plus_levels(name):
    """The levels of a Maildir++ folder: of another MailStore's, or as any mail server writes them."""
    levels = owners.folder_levels(name)
    if owners.dir_of_levels(levels) == name:
        return levels
    return [level(part) for part in name[1:].split(".") if part]


def looks_like_message(start):
    """Whether a file begins with a header, one that has a field that messages have: many a file has a colon in its first line."""
    start = start.lstrip(b"\xef\xbb\xbf")
    header = divide(start)[0]
    begins = re.match(rb"[!-9;-~]+[ \t]*:", start) and b"\0" not in start[:512]
    return bool(begins and re.search(rb"(?im)^(from|date|subject|message-id|received|to|return-path|delivered-to|mime-version)[ \t]*:", header))


def divide(message):
    """Header, blank line, body."""
    found = re.search(rb"(?:\A|\n)(\r?\n)", message)
    if not found:
        return message, b"", b""
    return message[: found.start(1)], found[1], message[found.end() :]


def mbox_flags(header, line):
    """Maildir's letters and whether the message is an old one, by what mail programs note in an mbox; none: it is deleted."""
    letters, old = set(), False
    # Thunderbird writes them before the message, and no sender into its From_ lines. Elsewhere such a field came with the message, and says
    # nothing: least of all that it is deleted.
    ours = THUNDERBIRD.match(header).end() if FROM_THUNDERBIRD.match(line) else 0
    fields = re.findall(rb"(?im)^(X-Mozilla-Status):[ \t]*([^\r\n]*)", header[:ours])
    fields += re.findall(rb"(?im)^(Status|X-Status):[ \t]*([^\r\n]*)", header)
    for name, value in fields:
        if name.lower() == b"x-mozilla-status":
            try:
                bits = int(value.strip(), 16)
            except ValueError:
                continue
            if bits & 0x0008:
                return None
            for bit, letter in ((0x0001, "S"), (0x0002, "R"), (0x0004, "F"), (0x1000, "P")):
                if bits & bit:
                    letters.add(letter)
            continue
        for letter, flag in ((b"R", "S"), (b"A", "R"), (b"F", "F"), (b"T", "D"), (b"D", "T")):
            if letter in value.upper() and (name.lower() == b"x-status") == (flag != "S"):
                letters.add(flag)
        old = old or b"O" in value.upper()
    return "".join(sorted(letters)), old or bool(letters)


def mbox_date(line):
    """None where the date cannot be: Thunderbird writes 1970 when it knows none."""
    date = mbox.date_of(line)
    return date if date is not None and plausible(date) and date > DOUBTFUL_DATE else None


def zip_date(info):
    """As Unix has it (UTC); what DOS has may be of any zone, so the header goes before it."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        data = extra[4 : 4 + size]
        if kind == 0x5455 and len(data) >= 5 and data[0] & 1:
            return struct.unpack("<l", data[1:5])[0]
        extra = extra[4 + size :]
    return None


def header_date(message):
    """That of the first Received field, else that of Date; none where neither can be."""
    header = divide(message)[0][: 64 * 1024]
    try:
        fields = email.parser.BytesHeaderParser().parsebytes(header).raw_items()
        values = {}
        for name, value in fields:
            values.setdefault(name.lower(), value)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    for text in (values.get("received", "").rpartition(";")[2], values.get("date", "")):
        try:
            parsed = email.utils.parsedate_tz(text)
            date = email.utils.mktime_tz(parsed) if parsed else None
        except (ValueError, OverflowError, TypeError, IndexError):
            date = None
        if date is not None and plausible(date):
            return date
    return None


def plausible(date):
    """After 1970, and not more than a day ahead: clocks differ."""
    return 0 < date <= time.time() + 86400
