"""What the log of start_proxies tells: what was not kept and why, who was refused, the counters.

Reads its lines as they come: from a file, rotated and compressed or not, or as journalctl or syslog show them, with their own words before.
"""

import calendar
import contextlib
import gzip
import re
import subprocess
import sys
import time
import zlib

from . import cli

LINE = re.compile(
    # What the journal and syslog put before: date, host, program and process.
    r"(?:(?:\S+|[A-Z][a-z]{2} [ 0-9]?[0-9] [0-9:]+) [^\s=]+ [^\s=]+\[[0-9]+\]: )?"
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z (ERROR|WARN|INFO|DEBUG|TRACE) (.*)"
)
NOT_KEPT = re.compile(r"[0-9a-f]{4,8} \S+ not kept owner=(\S+)(?: folder=(\S+))?(?: (.*?))?? reason=(.*)")
LATER = re.compile(r"[0-9a-f]{4,8} \S+ (not in its folder yet|in its folder, but not flushed) owner=(\S+) folder=(\S+) reason=(.*)")
COUNTERS = re.compile(r"counters (open=[0-9]+|\S+)((?: [a-z_]+=[0-9]+)+)")
EVENTS = (
    ("sessions", re.compile(r"[0-9a-f]{4,8} \S+ closed client=")),
    ("logins failed", re.compile(r"[0-9a-f]{4,8} \S+ login failed client=")),
    ("clients or commands refused", re.compile(r"(?:[0-9a-f]{4,8} )?\S+ refused client=")),
    # Not by the line that warns of it, which comes once a minute at most.
    ("servers out of reach", re.compile(r"[0-9a-f]{4,8} \S+ closed client=.* reason=the server cannot be reached\Z")),
)

# One line for several messages.
MORE = re.compile(r"(?:the session ended before )?([0-9]+) more messages (?:could not be fetched whole|of \S+ were got), ")
# Where a reason names its message, and what the program does about it.
IMAP = re.compile(r"(.*) \(folder=(\S+) [^()]*\); it is tried again when it is read or deleted in another session")
POP3 = re.compile(r"message \S+(?: \(unique-id \S+\))? of \S+")
PATH = re.compile(r"(cannot [a-z, ]+?) \S*/\S*: ")


class Log:
    """What was read."""

    def __init__(self, since=0.0):
        # Lines before this moment do not count.
        self.since = since
        # Lines of start_proxies.
        self.lines = 0
        self.first = self.last = None
        # (owner as the log has him, reason without what names the message) -> NotKept.
        self.not_kept = {}
        # What came late, or may go: the same.
        self.later = {}
        self.events = dict.fromkeys((name for name, _ in EVENTS), 0)
        # The latest: when, and name of the proxy ("" for all) -> its counters.
        self.counters_at = None
        self.counters = {}

    def add(self, line):
        """One line, as text."""
        found = LINE.fullmatch(line.rstrip("\r\n"))
        if not found:
            return
        try:
            when = calendar.timegm(tuple(map(int, found.groups()[:6])))
        except (ValueError, OverflowError):
            return
        if when < self.since:
            return
        self.lines += 1
        self.first = when if self.first is None else min(self.first, when)
        self.last = when if self.last is None else max(self.last, when)
        text = found[8]
        if " not kept owner=" in text:
            told = NOT_KEPT.fullmatch(text)
            if told:
                self._missed(self.not_kept, when, told[1], told[2], told[4])
                return
        if text.startswith("counters "):
            self._count(when, text)
            return
        happened = [name for name, event in EVENTS if event.match(text)]
        for name in happened:
            self.events[name] += 1
        if happened:
            return
        told = LATER.fullmatch(text)
        if told:
            self._missed(self.later, when, told[2], told[3], f"{told[1]}: {told[4]}")

    def _missed(self, table, when, owner, folder, reason):
        more = MORE.match(reason)
        imap = IMAP.fullmatch(reason)
        if imap:
            reason, folder = imap[1], imap[2]
        # What a server said has its blanks escaped, so that it is one word.
        reason = PATH.sub(r"\1 ...: ", POP3.sub("a message", reason)).replace("\\x20", " ")
        if more:
            reason = "more messages, for such reasons as were told of before"
        one = table.setdefault((owner, reason), NotKept(owner, reason))
        one.count += int(more[1][:9]) if more else 1
        one.last = max(one.last, when)
        one.folders.add(folder or "-")

    def _count(self, when, text):
        found = COUNTERS.fullmatch(text)
        if not found:
            return
        name = "" if found[1].startswith("open=") else found[1]
        if not name:
            # All together come first, then each proxy.
            self.counters_at, self.counters = when, {}
        self.counters[name] = {key: int(value) for key, value in (pair.split("=") for pair in found[2].split())}

    def missed(self):
        """How many messages were not kept."""
        return sum(one.count for one in self.not_kept.values())

    def missed_of(self):
        """The same by owner, as the log has them."""
        by_owner = {}
        for one in self.not_kept.values():
            by_owner[one.owner] = by_owner.get(one.owner, 0) + one.count
        return by_owner


class NotKept:
    """Messages of an owner that were not kept for one reason."""

    __slots__ = ("owner", "reason", "count", "last", "folders")

    def __init__(self, owner, reason):
        # "-" where nobody was logged in.
        self.owner = owner
        self.reason = reason
        self.count = 0
        # Seconds since 1970.
        self.last = 0
        self.folders = set()

    def folder(self):
        """Where they were to go, for people."""
        folders = sorted(self.folders - {"-"})
        return ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")


def owner(name):
    """An owner (bytes, user@domain) as the log has him: src/logging.rs."""
    user, _, domain = name.rpartition(b"@")
    return f"{_escape(user)}@{_escape(domain)}"


def _escape(data):
    shown = "".join(chr(b) if 0x21 <= b <= 0x7E and b not in b'\\"' else f"\\x{b:02x}" for b in data[:200])
    return shown + ("..." if len(data) > 200 else "")


def read(log, path):
    """Adds the lines of a file; `-` is standard input."""
    if path == "-":
        _feed(log, sys.stdin.buffer)
        return
    with open(path, "rb") as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            _feed(log, gzip.GzipFile(fileobj=file) if packed else file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as why:
            raise cli.Stop(f"{cli.printable(path)}: {why}") from None


def read_journal(log, unit):
    """Adds what the journal has of this unit."""
    # Of the journal's own moments: a line is written after what it tells of.
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(log.since))
    command = ["journalctl", "-q", "--no-pager", "-o", "cat", "-u", unit, "--since", since]
    try:
        journal = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise cli.Stop("there is no journalctl here; name the log's file with --log FILE") from None
    with journal:
        _feed(log, journal.stdout)
        said = journal.stderr.read().decode("utf-8", "replace").strip()
    if journal.returncode:
        raise cli.Stop(f"journalctl ended with status {journal.returncode}: {cli.printable(said) or 'it does not say why'}")


def _feed(log, lines):
    with contextlib.closing(lines) if lines is not sys.stdin.buffer else contextlib.nullcontext():
        for line in lines:
            log.add(line.decode("utf-8", "backslashreplace"))
