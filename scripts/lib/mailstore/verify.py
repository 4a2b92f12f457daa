"""Proves the spool: every message against its name, and everything else against what belongs there. Only reads.

A message is whole when its SHA-256 is the one in its name. Mail may arrive, be read, flagged and removed meanwhile: a file that is not
there any more is looked for under the name that it has now. Hashing is spread over processes; this one only lists.
"""

import contextlib
import os
import re
import time

from . import cli, spool as spools
from .examine import mode, spread, wrong_rights

# What is wrong, in the words that begin a line; and what is only worth knowing.
FAULTS = ("damaged", "truncated", "grown", "misnamed", "permissions", "strange", "unreadable")
NOTES = ("duplicate",)

# Messages that are handed to a process at once: some milliseconds of work, and little enough to wait in a pipe.
BATCH = 128
# Octets, the same.
BATCH_OCTETS = 32 << 20
# How often a message is looked for under a new name.
ROUNDS = 10

# What belongs into a Maildir besides messages: MailStore's notes, and what Dovecot, Courier, mbsync and notmuch keep there.
KEPT_BY_PROGRAMS = re.compile(
    r"(mailstore-.+|\.?dovecot[.-].+|courier(imap|pop3).+|maildirfolder|maildirsize|subscriptions(\.lock)?|\.nfs[0-9a-f]+"
    r"|\.uidvalidity|\.mbsyncstate.*|\.notmuch|shared-(folders|timestamp)|sieve)\Z"
)
# What a file system keeps at its root, and what MailStore leaves there for a moment.
KEPT_AT_ROOT = re.compile(r"(lost\+found|\.snapshots?|\.zfs|\.mailstore-probe-.+|\.nfs[0-9a-f]+)\Z")


class Finding:
    """One thing that is wrong, or worth knowing."""

    __slots__ = ("kind", "owner", "path", "reason")

    def __init__(self, kind, owner, path, reason):
        # One of FAULTS or NOTES.
        self.kind = kind
        # As people name him; "-" for what is nobody's.
        self.owner = owner
        # Below the spool; "." is the spool itself.
        self.path = path
        self.reason = reason

    def __str__(self):
        return f"{self.kind} owner={cli.word(self.owner)} path={cli.word(self.path)} reason={cli.printable(self.reason)}"


class Summary:
    """What was looked at, and what was found."""

    def __init__(self):
        self.owners = 0
        self.messages = 0
        # Messages without a hash in their name: an IMAP server wrote them. Only their size was checked.
        self.unhashed = 0
        # Messages that went away before they could be looked at.
        self.gone = 0
        self.octets = 0
        self.seconds = 0.0
        # How many of each kind.
        self.found = {}

    def faults(self):
        """How many things are wrong."""
        return sum(count for kind, count in self.found.items() if kind in FAULTS)

    def __str__(self):
        """One line: `2,345 messages of 5 owners, 120 MB, in 1.2 s (1,954 messages/s, 100 MB/s): all are whole`."""
        seconds = max(self.seconds, 0.001)
        rate = f"{self.messages / seconds:,.0f} messages/s, {self.octets / seconds / 1e6:,.1f} MB/s"
        looked = f"{cli.count(self.messages, 'message')} of {cli.count(self.owners, 'owner')}, {cli.amount(self.octets)}"
        more = [f"{self.found[kind]:,} {kind}" for kind in FAULTS if self.found.get(kind)]
        verdict = ", ".join(more) if more else "nothing is wrong"
        asides = [
            (self.unhashed, "without a hash"),
            (self.gone, "removed meanwhile"),
            (self.found.get("duplicate", 0), "kept twice"),
        ]
        asides = "".join(f"; {number:,} {what}" for number, what in asides if number)
        return f"{looked}, in {seconds:,.1f} s ({rate}): {verdict}{asides}"


def check(spool, template, owners=None, jobs=None, progress=None, report=None, permissions=True):
    """Looks at everything in the spool, or at these owners' Maildirs (`spool.Maildir`) only, and gives a Summary.

    `report(Finding)` is called for each thing found, in no fixed order; `progress(messages, octets, total)` now and then. `jobs` is the
    number of processes, by default one for each processor. Without `permissions` modes and users are not looked at.
    """
    began = time.monotonic()
    looking = _Check(os.fspath(spool), template, report, permissions)
    summary = looking.summary
    total = looking.count(owners) if progress else 0
    batches = looking.walk(owners)
    for _ in range(ROUNDS):
        with contextlib.closing(spread(batches, jobs or processors())) as results:
            for result in results:
                looking.take(result)
                if progress:
                    progress(summary.messages, summary.octets, total)
        if not looking.missing:
            break
        batches = looking.again()
    summary.gone += sum(len(bases) for bases in looking.missing.values())
    summary.seconds = time.monotonic() - began
    return summary


def processors():
    return len(os.sched_getaffinity(0))


class _Folder:
    """A folder of a Maildir that is being looked at."""

    __slots__ = ("owner", "below", "path")

    def __init__(self, owner, below, path):
        self.owner = owner
        self.below = below
        self.path = path


class _Check:
    def __init__(self, spool, template, report, permissions):
        self.spool = spool
        self.template = template
        self.report = report or (lambda finding: None)
        self.summary = Summary()
        # Whose all of it has to be; none: nobody asks.
        self.uid = os.stat(spool).st_uid if permissions else None
        # Messages that were not there any more, without their flags, by folder.
        self.missing = {}

    def found(self, kind, owner, path, reason):
        self.summary.found[kind] = self.summary.found.get(kind, 0) + 1
        self.report(Finding(kind, owner, path, reason))

    def unreadable(self, owner, below, why):
        self.found("unreadable", owner, below, why.strerror or str(why))

    def count(self, owners):
        """About how many messages there are."""
        total = 0
        quiet = _Check(self.spool, self.template, None, False)
        for maildir in quiet.maildirs() if owners is None else owners:
            for name in maildir.folders():
                for sub in ("new", "cur"):
                    with contextlib.suppress(OSError):
                        total += len(os.listdir(os.path.join(maildir.dir, name, sub)))
        return total

    # What is listed.

    def walk(self, owners):
        """The batches of all messages; tells of everything else on the way."""
        if owners is None:
            self.folder_rights("-", ".", self.spool, root=True)
        for maildir in self.maildirs() if owners is None else owners:
            self.summary.owners += 1
            yield from self.maildir(maildir)

    def maildirs(self, below="", depth=0):
        """Every Maildir; what does not belong on the levels above them is told."""
        here = os.path.join(self.spool, below)
        if depth == self.template.depth():
            if spools.is_maildir(here):
                yield spools.Maildir(self.spool, below, self.template.owner(below))
            elif self.entries("-", below, here) and not spools.is_maildir(here):
                self.found("strange", "-", below, "is no Maildir: has neither new nor cur; does maildir in mailstore.ini (-c) fit?")
            return
        if depth:
            self.folder_rights("-", below, here)
        for entry in self.entries("-", below or ".", here):
            name, path = entry.name, os.path.join(below, entry.name)
            if depth == 0 and KEPT_AT_ROOT.match(name):
                continue
            if not self.template.leads(depth, name):
                # Beside a fixed name in the template there may be what has nothing to do with mail.
                continue
            if not is_dir(entry):
                self.found("strange", "-", path, f"is {what_is(entry)}, where only folders are")
            elif name.startswith("."):
                self.found("strange", "-", path, "is no owner's: the name begins with a dot")
            else:
                yield from self.maildirs(path, depth + 1)

    def maildir(self, maildir):
        """The batches of one owner."""
        owner = maildir.title()
        self.folder_rights(owner, maildir.path, maildir.dir)
        folders = [""]
        for entry in self.entries(owner, maildir.path, maildir.dir):
            name, path = entry.name, os.path.join(maildir.path, entry.name)
            if name in ("new", "cur", "tmp") or (KEPT_BY_PROGRAMS.match(name) and not spools.is_maildir(entry.path)):
                self.kept_by_programs(owner, path, entry)
            elif not name.startswith(".") or not is_dir(entry):
                self.found("strange", owner, path, f"is {what_is(entry)} that does not belong into a Maildir")
            elif spools.is_maildir(entry.path):
                folders.append(name)
            elif self.entries(owner, path, entry.path):
                self.found("strange", owner, path, "is no folder of a Maildir: has neither new nor cur")
        # Its hashes, and where each was seen first.
        seen = {}
        for name in folders:
            folder = _Folder(owner, os.path.join(maildir.path, name), os.path.join(maildir.dir, name))
            if name:
                self.subfolder(folder)
            yield from self.messages(folder, seen)

    def subfolder(self, folder):
        self.folder_rights(folder.owner, folder.below, folder.path)
        for entry in self.entries(folder.owner, folder.below, folder.path):
            path = os.path.join(folder.below, entry.name)
            if entry.name in ("new", "cur", "tmp") or KEPT_BY_PROGRAMS.match(entry.name):
                self.kept_by_programs(folder.owner, path, entry)
            else:
                self.found("strange", folder.owner, path, f"is {what_is(entry)} that does not belong into a folder of a Maildir")

    def kept_by_programs(self, owner, below, entry):
        if entry.name in ("new", "cur", "tmp"):
            if not is_dir(entry):
                self.found("strange", owner, below, f"is {what_is(entry)}, where a folder has to be")
            else:
                self.folder_rights(owner, below, entry.path)
        elif entry.name.startswith("mailstore-") and self.uid is not None:
            # Others' files have their own rights; this one names all that the owner ever got.
            with contextlib.suppress(OSError):
                self.rights(owner, below, os.stat(entry.path), 0o600)

    def messages(self, folder, seen):
        """The batches of one folder."""
        # By what stays of the name when flags change: a message that moves from new to cur meanwhile is in both lists.
        found = {}
        for sub in ("new", "cur"):
            for name in self.names(folder, sub):
                base = name.partition(":")[0]
                found[base] = (sub, name)
        for base, (sub, name) in found.items():
            at = base.find(",H=")
            if at < 0:
                continue
            digest, path = base[at + 3 : at + 67], os.path.join(folder.below, sub, name)
            first = seen.setdefault(digest, path)
            if first is not path and len(digest) == 64:
                self.found("duplicate", folder.owner, path, f"is the same message as {first}")
        yield from self.batches(folder, found.values())

    def names(self, folder, sub):
        """The names of the messages in `new` or `cur`; tells of what cannot be one."""
        here, below = os.path.join(folder.path, sub), os.path.join(folder.below, sub)
        names, told = set(), set()
        for _ in range(3):
            before = changed(here)
            for entry in self.entries(folder.owner, below, here):
                name = entry.name
                if name.startswith(".nfs") or name in told:
                    continue
                if entry.is_file(follow_symlinks=False):
                    names.add(name)
                elif os.path.lexists(entry.path):
                    told.add(name)
                    self.found("strange", folder.owner, os.path.join(below, name), f"is {what_is(entry)}, not a message")
            # A name that changes while a folder is read may be left out.
            if before == changed(here):
                break
        return sorted(names)

    def batches(self, folder, found):
        batch, octets, last = [], 0, None
        for sub, name in found:
            if batch and (sub != last or len(batch) >= BATCH or octets >= BATCH_OCTETS):
                yield folder.owner, folder.below, folder.path, last, batch, self.uid
                batch, octets = [], 0
            last = sub
            batch.append(name)
            size = spools.SIZE.search(name)
            octets += int(size[1]) if size and len(size[1]) < 16 else 0
        if batch:
            yield folder.owner, folder.below, folder.path, last, batch, self.uid

    def again(self):
        """The batches of what was missing, under the names that it has now. What is found nowhere has been removed."""
        missing, self.missing = self.missing, {}
        for (owner, below, path), bases in missing.items():
            folder, found = _Folder(owner, below, path), {}
            for sub in ("new", "cur"):
                with contextlib.suppress(OSError):
                    for name in os.listdir(os.path.join(path, sub)):
                        base = name.partition(":")[0]
                        if base in bases:
                            found[base] = (sub, name)
            self.summary.gone += len(bases) - len(found)
            yield from self.batches(folder, found.values())

    def take(self, result):
        """What a process found out about a batch."""
        owner, below, path, sub, messages, octets, unhashed, findings, missing = result
        self.summary.messages += messages
        self.summary.octets += octets
        self.summary.unhashed += unhashed
        for kind, name, reason in findings:
            self.found(kind, owner, os.path.join(below, sub, name), reason)
        if missing:
            self.missing.setdefault((owner, below, path), set()).update(name.partition(":")[0] for name in missing)

    # What all of them need.

    def entries(self, owner, below, path):
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as why:
            self.unreadable(owner, below, why)
            return []

    def folder_rights(self, owner, below, path, root=False):
        if self.uid is None:
            return
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return
        except OSError as why:
            return self.unreadable(owner, below, why)
        if not root:
            self.rights(owner, below, status, 0o700)
        elif status.st_mode & 0o022:
            # It may be a mount point, which others may look at; what is below is closed.
            self.found("permissions", owner, below, f"mode {mode(status)}: others can write to it, it should be 0700")

    def rights(self, owner, below, status, right):
        for reason in wrong_rights(status, right, self.uid):
            self.found("permissions", owner, below, reason)


def changed(path):
    with contextlib.suppress(OSError):
        return os.stat(path).st_mtime_ns
    return None


def is_dir(entry):
    with contextlib.suppress(OSError):
        # A Maildir may be a link to another disk.
        return entry.is_dir()
    return False


def what_is(entry):
    if entry.is_symlink():
        return "a symbolic link"
    if entry.is_dir(follow_symlinks=False):
        return "a folder"
    return "a file" if entry.is_file(follow_symlinks=False) else "neither file nor folder"
