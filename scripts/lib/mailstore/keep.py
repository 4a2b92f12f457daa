"""Puts messages into the spool as MailStore does: src/archive/{draft,maildir,name,known}.rs in Python.

tmp -> flush -> rename into new or cur -> flush of the folder; names with size and hash; what the owner has already, in any folder, is left
out. A running MailStore is told by the time of the file `mailstore-imported` at the Maildir's root, and knows what came from then on.
A crash leaves files in `tmp` at most, which the next import of the same owner removes; what was renamed is whole, and known to the next one.
"""

import concurrent.futures
import hashlib
import os
import pwd
import re
import socket
import stat
import time

from . import cli, files, owners, place
from .spool import HASH, Maildir

# Messages that are flushed together.
BATCH = 64

# At the same time.
FLUSHES = 8

# Not `,mailstore`: a MailStore that starts removes what it takes for its own.
DRAFT = ",import"
MARK = "mailstore-imported"
# A running MailStore looks at its time once in 10 ms (src/archive/seen.rs). Seconds.
MARK_SEEN_AFTER = 0.02
MARK_TEXT = b"# Its time tells a running MailStore that messages were put here besides it (scripts/import). This file may be deleted at any time.\n"


def host():
    """This host as the names have it."""
    out = "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-_.") else f"\\{byte:03o}"
        for byte in os.fsencode(socket.gethostname())
    )
    if len(out) > 64:
        digest = hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:16]
        out = f"{out[:47]}-{digest}"
    return out or "localhost"


def become_owner(spool, user):
    """As root: from here on files are made as the user whose spool it is. What this returns makes a block run as root again."""
    if os.geteuid() != 0:
        return _Nobody()
    status = os.stat(spool)
    uid, gid = status.st_uid, status.st_gid
    if uid == 0 and user:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise cli.Stop(f"[mailstore] user: there is no user {cli.printable(user)}") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if uid == 0:
        return _Nobody()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    return _Root(uid)


class _Nobody:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


class _Root:
    """Files that only root may read are opened in such a block."""

    def __init__(self, uid):
        self.uid = uid

    def __enter__(self):
        os.seteuid(0)

    def __exit__(self, *_):
        os.seteuid(self.uid)


class Known:
    """What lies in a Maildir already, by the hash in the name; where a name has none (an IMAP server wrote the file), by that of the content."""

    def __init__(self, maildir):
        self.maildir = maildir
        self.by_hash = {}
        # Size -> files whose names have no hash, none read yet.
        self.nameless = {}
        self._scan()

    def _scan(self):
        self.by_hash, self.nameless = {}, {}
        for message in self.maildir.messages():
            digest = message.hash()
            if digest is not None:
                self.by_hash[digest] = message.path
                continue
            try:
                size = os.lstat(message.path).st_size
            except OSError:
                continue
            self.nameless.setdefault(size, []).append(message.path)

    def has(self, digest, size):
        path = self.by_hash.get(digest)
        if path is not None:
            if _stands(path, size):
                return True
            # A mail program may have moved it: one more look.
            self._scan()
            path = self.by_hash.get(digest)
            if path is not None and _stands(path, size):
                return True
        for path in self.nameless.pop(size, ()):
            try:
                with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
                    self.by_hash.setdefault(hashlib.sha256(file.read()).hexdigest(), path)
            except OSError:
                pass
        return digest in self.by_hash and _stands(self.by_hash[digest], size)

    def add(self, digest, path):
        self.by_hash[digest] = path


def _stands(path, size):
    """Whether a file of this size is there: one that lost its end does not count."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


class Keeper:
    """Puts messages into one owner's Maildir, which need not be there yet. `open` comes first."""

    def __init__(self, spool, maildir):
        self.spool, self.maildir = spool, maildir
        self.known = Known(maildir)
        self.host = host()
        self.count = 0
        self.held = None
        self.ensured = set()
        # Drafts that are written: (path in tmp, folder's path, sub, name, digest, octets).
        self.batch = []
        # What is in its folder, on disk: messages and their octets.
        self.settled = self.settled_octets = 0
        self.batch_hashes = set()
        # When MARK was changed last.
        self.marked = float("-inf")
        self.threads = concurrent.futures.ThreadPoolExecutor(FLUSHES)

    def open(self):
        """Makes the Maildir where there is none, and keeps other imports of the same owner out."""
        if self.held is None:
            self._ensure("", self.maildir.dir)
            self.held = place.lock(self.maildir, "restore or import")
            self._tidy(os.path.join(self.maildir.dir, "tmp"))
            self.known = Known(self.maildir)

    def has(self, digest, size):
        return digest in self.batch_hashes or self.known.has(digest, size)

    def put(self, folder, flags, in_cur, date, message, digest):
        """Takes a message, which is in its folder, on disk, after the next `settle`."""
        where = os.path.join(self.maildir.dir, folder) if folder else self.maildir.dir
        if folder not in self.ensured:
            self._ensure(folder, where)
            self._tidy(os.path.join(where, "tmp"))
        self.count += 1
        now = time.time_ns() // 1000
        base = f"{now // 1_000_000}.M{now % 1_000_000:06}P{os.getpid()}Q{self.count}.{self.host}"
        sub = "cur" if in_cur or flags else "new"
        name = f"{base},S={len(message)},H={digest}" + (f":2,{flags}" if sub == "cur" else "")
        path = os.path.join(where, "tmp", base + DRAFT)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            self.batch.append((path, where, sub, name, digest, len(message)))
            # The umask may have taken away more than we can spare.
            os.fchmod(file.fileno(), 0o600)
            file.write(message)
            file.flush()
            os.utime(file.fileno(), (date, date))
        self.batch_hashes.add(digest)
        if len(self.batch) >= BATCH:
            self.settle()

    def settle(self):
        """What was put is in its folders when this returns, on disk; interrupted, what is counted is."""
        # Together: a journal writes what waits at the same time in one go.
        list(self.threads.map(files.flush, [draft[0] for draft in self.batch]))
        folders = {}
        try:
            while self.batch:
                path, where, sub, name, digest, octets = self.batch[0]
                target = os.path.join(where, sub, name)
                folders[os.path.join(where, sub)] = None
                os.rename(path, target)
                self.batch.pop(0)
                self.settled += 1
                self.settled_octets += octets
                self._mark()
                self.known.add(digest, target)
        finally:
            for folder in folders:
                files.flush(folder)
        self.batch_hashes.clear()

    def close(self):
        """Removes what was put and did not settle, and lets others in. What did settle is known to a running MailStore when this returns."""
        self.threads.shutdown()
        time.sleep(max(0.0, self.marked + MARK_SEEN_AFTER - time.monotonic()))
        for path, *_ in self.batch:
            try:
                os.unlink(path)
            except OSError:
                pass
        self.batch = []
        if self.held is not None:
            os.close(self.held)

    def _mark(self):
        """Tells a running MailStore, after each message: it may keep the same at any moment."""
        path = os.path.join(self.maildir.dir, MARK)
        now = time.time_ns()
        try:
            os.utime(path, ns=(now, now), follow_symlinks=False)
        except FileNotFoundError:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(MARK_TEXT)
            os.utime(path, ns=(now, now), follow_symlinks=False)
        self.marked = time.monotonic()

    def _ensure(self, folder, where):
        """The folder is there, private, and on disk up to the spool."""
        made_in = set()
        at = self.spool
        for level in self.maildir.path.split("/") + ([folder] if folder else []):
            made_in.add(at)
            at = os.path.join(at, level)
            _make(at)
            if at in (self.maildir.dir, where):
                for sub in ("tmp", "new", "cur"):
                    _make(os.path.join(at, sub))
                made_in.add(at)
        for path in sorted(made_in, key=len, reverse=True):
            files.flush(path)
        self.ensured.add(folder)

    def _tidy(self, tmp):
        """Removes drafts of an import that died: none runs beside this one (the Maildir is locked)."""
        ours = re.compile(rf"\d+\.M\d+P\d+Q\d+\.{re.escape(self.host)}{DRAFT}\Z")
        with os.scandir(tmp) as entries:
            for entry in entries:
                if ours.match(entry.name):
                    os.unlink(entry.path)


def maildir_of(spool, template, owner, default_domain):
    """The owner's Maildir, which need not be there yet."""
    text, owner = owner, owners.owner_of(owner, default_domain)
    user, _, domain = owner.rpartition(b"@")
    if not user or not domain:
        raise cli.Stop(f"{cli.printable(text)!r} is no owner; write user@domain")
    return Maildir(spool, template.path(owner), owner)


def _make(path):
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, 0o700)
