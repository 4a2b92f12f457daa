"""Walks through the spool while mail arrives: owners, their folders, the messages.

Nothing waits for anything and nothing is locked: what appears or goes away meanwhile is seen or not. `tmp` is never looked into.
"""

import os
import re

from . import cli, owners

SIZE = re.compile(r",S=([0-9]+)(?=[,:]|\Z)")
HASH = re.compile(r",H=([0-9a-f]{64})(?=[,:]|\Z)")


class Maildir:
    """An owner's."""

    def __init__(self, spool, path, owner):
        self.spool = spool
        # Below the spool: example.com/joe.
        self.path = path
        self.dir = os.path.join(spool, path)
        # Bytes, user@domain; none where the path does not tell.
        self.owner = owner

    def title(self):
        """For people, and as the scripts take it as OWNER: user@domain, or the path where that does not tell or cannot be typed."""
        if self.owner is None:
            return cli.printable(self.path)
        text = os.fsdecode(self.owner)
        return text if text.isprintable() else cli.printable(self.path)

    def folders(self):
        """The names of the folders: "" for the inbox first, then `.Sent`..."""
        names = [""]
        try:
            with os.scandir(self.dir) as entries:
                names += sorted(e.name for e in entries if e.name.startswith(".") and e.is_dir() and is_maildir(e.path))
        except FileNotFoundError:
            pass
        return names

    def messages(self, folder=None):
        """The messages of this folder, or of all, as Message; by name, so that the oldest come first."""
        for name in self.folders() if folder is None else [folder]:
            found = []
            for sub in ("new", "cur"):
                place = os.path.join(self.dir, name, sub)
                try:
                    with os.scandir(place) as entries:
                        found += [Message(name, sub, entry.name, entry.path) for entry in entries]
                except FileNotFoundError:
                    continue
            found.sort(key=lambda message: message.name)
            yield from found


class Message:
    """A file in `new` or `cur`."""

    __slots__ = ("folder", "sub", "name", "path")

    def __init__(self, folder, sub, name, path):
        self.folder = folder
        self.sub = sub
        self.name = name
        self.path = path

    def size(self):
        """Octets, as the name says; none where it does not."""
        found = SIZE.search(self.name)
        return int(found[1]) if found else None

    def hash(self):
        """SHA-256 in hex, as the name says; none where it does not (a message that an IMAP server wrote)."""
        found = HASH.search(self.name)
        return found[1] if found else None

    def flags(self):
        """The letters behind `:2,`."""
        return self.name.rpartition(":2,")[2] if ":2," in self.name else ""


def is_maildir(path):
    return os.path.isdir(os.path.join(path, "cur")) or os.path.isdir(os.path.join(path, "new"))


def maildirs(spool, template, left_out=lambda path: False):
    """Every owner's Maildir, by path; but for the folders that are left out, which are not looked into."""

    def below(path, depth):
        if path and left_out(path):
            return
        if depth == template.depth():
            if is_maildir(os.path.join(spool, path)):
                yield Maildir(spool, path, template.owner(path))
            return
        with os.scandir(os.path.join(spool, path)) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=True))
        for name in names:
            # A folder that begins with a dot is no owner's: those are written %2E.
            if not name.startswith(".") and template.leads(depth, name):
                yield from below(os.path.join(path, name) if path else name, depth + 1)

    if os.path.exists(os.path.join(spool, "mailstore-snapshot")):
        raise cli.Stop(f"{spool}: is a snapshot; its spool is {os.path.join(spool, 'mailSpool')}")
    if not cli.is_folder(spool):
        raise cli.Stop(f"{spool}: there is no such folder; is it the spool of mailstore.ini, and mounted?")
    yield from below("", 0)


def maildir(spool, template, name, default_domain="localhost"):
    """The Maildir of the owner that a person names: user@domain, a user of the default domain, or the path below the spool."""
    candidates = [template.path(owners.owner_of(name, default_domain))]
    parts = name.strip("/").split("/")
    if len(parts) == template.depth() and not any(part.startswith(".") or not part for part in parts):
        candidates.append("/".join(parts))
    for path in candidates:
        if is_maildir(os.path.join(spool, path)):
            return Maildir(spool, path, template.owner(path))
    known = [found.title() for found in maildirs(spool, template)]
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    raise cli.Stop(f"{cli.printable(name)}: nothing is kept of such an owner in {spool}" + (f"; there are {some}" if some else ""))
