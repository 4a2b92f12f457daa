"""Copies a spool by rsync while mail arrives and while an IMAP server renames files in it.

Under its final name a message is whole and never changes, so any copy of it is a good one. What is not complete lies in `tmp` and is left out.
Two things a single round of rsync cannot do:

- It reads one folder after the other. A message that moves from a folder that is not read yet to one that has been (`new` to `cur`, or new flags)
  is in neither, and no error tells. So there are two rounds at least, then the names in the spool are compared with those in the copy, and what
  has been there for a whole round and is not in the copy costs another round.
- What moved between the rounds is in the copy under both names. The one that the spool has no more goes.

And a message whose flags have changed, or that an IMAP server has taken from `new` to `cur`, is another file to rsync: it would cost its room again, for
all of an old mailbox when somebody opens it. So what is in the earlier snapshot under another name is linked first, and rsync finds it there.
"""

import errno
import filecmp
import functools
import os
import re
import shutil
import signal
import stat
import subprocess
import time

from . import cli, spool as spools

ROUNDS_MAX = 8
# How often a folder's names are read while somebody changes them.
READS_MAX = 10
# A folder that was not changed for so long shows by its time when it is: the clock of a file system ticks some hundred times a second.
QUIET_NS = 50_000_000

# What rsync says of files and folders that went away meanwhile, and what it says at the end in any case.
GONE = re.compile(r"(file|directory) has vanished: |rsync: \[sender\] .*No such file or directory \(2\)|rsync (warning|error): some files")
# Copied in part: what went away, or what cannot be read.
PARTIAL, VANISHED = 23, 24


class Copy:
    """One copy of `spool`, made into the folder `into`, where a part of it may lie already."""

    def __init__(self, spool, template, into, earlier, lock_fd):
        self.spool = spool
        self.template = template
        self.into = into
        # A spool in an earlier snapshot: what is the same there becomes a hard link. None: there is none.
        self.earlier = earlier
        # Held open by rsync as well: whoever outlives a killed script still holds the lock.
        self.lock_fd = lock_fd
        # Links to folders that are not followed, and what they are.
        self.left_out = dict(barred(spool, template.depth()))

    def run(self):
        """Copies until nothing is missing; else says what."""
        self.link_renamed()
        faults, missing, lost = None, set(), set()
        for number in range(1, ROUNDS_MAX + 1):
            before = faults
            # What is no longer in the spool goes only before anything is known to be in the copy: in a later round a file may be one that was missed.
            faults, _ = self.rsync(["--delete", "--delete-excluded"] if number == 1 else [])
            if number == 1:
                continue
            if faults and faults == before:
                break
            missing_before, missing = missing, self.missing()
            # What is missing for the first time may have come after the round. What is so again gets new names faster than rsync comes to open it.
            lost = {one for one in missing & missing_before if not self.fetch(*one)}
            if not faults and not lost and (number > 2 or not missing):
                return
        raise cli.Stop(incomplete(faults, lost))

    def new(self):
        """Octets in the copy that the earlier snapshot does not have, whichever run copied them: one that was interrupted may have done so."""
        octets = 0
        # A file of several names counts once, and is new where all of them lie in the copy: inode -> [octets, names that were not seen yet].
        several = {}
        for folder, _, files in os.walk(self.into):
            before = self.earlier and os.path.join(self.earlier, os.path.relpath(folder, self.into))
            for name in files:
                status = os.lstat(os.path.join(folder, name))
                if not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_nlink == 1:
                    octets += status.st_size
                elif not (before and leads_to(os.path.join(before, name), status)):
                    several.setdefault(status.st_ino, [status.st_size, status.st_nlink])[1] -= 1
        return octets + sum(size for size, unseen in several.values() if not unseen)

    def expected(self):
        """Octets that a run would copy now."""
        return self.rsync(["--dry-run"])[1]

    def link_renamed(self):
        """Links the messages that the earlier snapshot has under another name, or in another folder of the same owner."""
        if not self.earlier:
            return
        for maildir in spools.maildirs(self.spool, self.template, self.is_left_out):
            known = {}
            for folder in spools.Maildir(self.earlier, maildir.path, None).folders():
                for sub, name in names(os.path.join(self.earlier, maildir.path, folder)):
                    known[unique(name)] = os.path.join(self.earlier, maildir.path, folder, sub, name)
            for folder in maildir.folders():
                below = os.path.join(maildir.path, folder)
                for sub, name in () if self.is_left_out(below) else names(os.path.join(self.spool, below)):
                    path, old = os.path.join(below, sub, name), known.get(unique(name))
                    if old and old != os.path.join(self.earlier, path) and alike(old, os.path.join(self.spool, path)):
                        link(old, os.path.join(self.into, path))

    def fetch(self, folder, name):
        """Copies one message by whatever name it has now. False: it is there, and cannot be had."""
        seen = False
        for _ in range(READS_MAX):
            there = [(sub, now) for sub, now in names(os.path.join(self.spool, folder)) if unique(now) == name]
            for sub, now in there:
                seen = True
                try:
                    replace(os.path.join(self.into, folder, sub, now), os.path.join(self.spool, folder, sub, now))
                    return True
                except OSError as why:
                    # It has got another name, or something else has its name.
                    if why.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                        raise
        return not seen

    def rsync(self, more):
        """Runs it; gives what could not be copied, and the octets that were."""
        command = ["rsync", "--recursive", "--links", "--perms", "--times", "--group", "--owner", "--numeric-ids", "--hard-links"]
        # A Maildir that was moved to another disk and is a symbolic link now is saved all the same, as a folder.
        command += ["--copy-dirlinks", "--stats", "--no-human-readable", "--8-bit-output", *self.excluded(), *more]
        if self.earlier:
            command.append("--link-dest=" + self.earlier)
        command += ["--", self.spool + "/", self.into + "/"]
        environment = {**os.environ, "LC_ALL": "C"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        keep = [] if self.lock_fd is None else [self.lock_fd]
        # A signal that comes while rsync is being started waits until we can end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        try:
            restored = functools.partial(signal.pthread_sigmask, signal.SIG_SETMASK, before)
            process = subprocess.Popen(command, env=environment, pass_fds=keep, preexec_fn=restored, **pipes)
            try:
                restored()
                out, err = process.communicate()
            except BaseException:
                # Ended in order, so that nothing of it goes on without us.
                process.terminate()
                process.wait()
                raise
        except FileNotFoundError:
            raise cli.Stop("rsync is not installed: apt install rsync") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        lines = os.fsdecode(err).splitlines()
        if process.returncode not in (0, PARTIAL, VANISHED):
            told = "; ".join(cli.printable(line) for line in lines[:5]) or f"it ended with {process.returncode}"
            raise cli.Stop(f"rsync failed: {told}")
        octets = re.search(r"^Total transferred file size: ([0-9]+)", os.fsdecode(out), re.M)
        return [line for line in lines if line.strip() and not GONE.match(line)], int(octets[1]) if octets else 0

    def excluded(self):
        """What lies in the Maildirs' `tmp`. (An owner, a domain or a folder may itself be called tmp.)"""
        maildir = "/*" * self.template.depth()
        yield f"--exclude={maildir}/tmp/*"
        yield f"--exclude={maildir}/.*/tmp/*"
        # Below the `cur` of a Maildir's folder, and one level further for what other programs keep there, is no mail; a link that leads back up would
        # have rsync go round and round.
        yield f"--exclude={maildir}/*/*/*/"
        for path in self.left_out:
            yield "--exclude=/" + re.sub(r"([\\*?[])", r"\\\1", path)

    def is_left_out(self, path):
        """Whether this folder is one of those that are not followed, or lies below one."""
        return any(f"{path}/".startswith(f"{link}/") for link in self.left_out)

    def missing(self):
        """The messages that lie in the spool and not in the copy, as (folder, name without flags)."""
        found = set()
        for maildir in spools.maildirs(self.spool, self.template, self.is_left_out):
            for folder in maildir.folders():
                below = os.path.join(maildir.path, folder)
                if self.is_left_out(below):
                    continue
                copied = {unique(name) for _, name in names(os.path.join(self.into, below))}
                found.update((below, name) for name in settled(os.path.join(self.spool, below)) if name not in copied)
        return found

    def tidy(self):
        """Takes out the second names of messages that moved meanwhile; gives how many messages are in the copy, their octets, and of how many owners."""
        messages = octets = owners = 0
        for maildir in spools.maildirs(self.into, self.template):
            owners += 1
            for folder in maildir.folders():
                place = os.path.join(maildir.dir, folder)
                found = {}
                for sub, name in names(place):
                    found.setdefault(unique(name), []).append(os.path.join(sub, name))
                for several in found.values():
                    if len(several) > 1:
                        several = self.without_second_names(os.path.join(maildir.path, folder), several)
                    messages += len(several)
                    octets += sum(size(place, path) for path in several)
        return messages, octets, owners

    def without_second_names(self, folder, several):
        """Of a message's names in one folder of the copy the one that the spool has now stays, or else the one in `cur`."""
        here, there = os.path.join(self.into, folder), os.path.join(self.spool, folder)
        first = max(several, key=lambda path: (os.path.lexists(os.path.join(there, path)), path.startswith("cur"), path))
        stay = [first]
        for path in several:
            if path != first:
                if same(os.path.join(here, path), os.path.join(here, first)):
                    os.unlink(os.path.join(here, path))
                else:
                    stay.append(path)
        return stay


CIRCLE = "is a link that leads round in a circle"
FOREIGN = "is a link that root did not make, to a folder that does not belong to the spool's user"


def barred(spool, depth, below="", way=()):
    """Symbolic links, down to the Maildirs' folders, that are not followed, and why: rsync would go round and round, or root would read what
    the spool's user may not.
    """
    here = os.path.join(spool, below)
    way = (*way, os.path.realpath(here))
    try:
        with os.scandir(here) as entries:
            entries = list(entries)
    except OSError:
        # rsync tells of it, if it is still so then.
        return
    for entry in entries:
        path = os.path.join(below, entry.name)
        if entry.is_symlink() and entry.is_dir():
            to = os.path.realpath(entry.path)
            if any(at == to or at.startswith(to.rstrip("/") + "/") for at in way):
                yield path, CIRCLE
            elif foreign(spool, entry):
                yield path, FOREIGN
            else:
                yield from barred(spool, depth - 1, path, way)
        elif depth > 0 and entry.is_dir(follow_symlinks=False):
            yield from barred(spool, depth - 1, path, way)


def foreign(spool, entry):
    """Whether a link is the spool's user's, and what it leads to is not."""
    owner = os.stat(spool).st_uid
    try:
        return os.geteuid() == 0 and owner != 0 and entry.stat(follow_symlinks=False).st_uid != 0 and entry.stat().st_uid != owner
    except OSError:
        return True


def unique(name):
    """What stays of a message's name when its flags change."""
    return name.partition(":")[0]


def names(folder):
    """The messages of a Maildir's folder, as (new or cur, name)."""
    for sub in ("new", "cur"):
        try:
            with os.scandir(os.path.join(folder, sub)) as entries:
                yield from ((sub, entry.name) for entry in entries if entry.is_file(follow_symlinks=False))
        except OSError as why:
            if why.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise


def settled(folder):
    """The messages in a folder that may be changed meanwhile, without flags: read again until nobody has changed it while it was read."""
    found = set()
    for _ in range(READS_MAX):
        before = changed(folder)
        quiet = time.time_ns() - max(before, default=0) > QUIET_NS
        found.update(unique(name) for _, name in names(folder))
        if quiet and changed(folder) == before:
            break
    return found


def changed(folder):
    times = []
    for sub in ("new", "cur"):
        try:
            times.append(os.stat(os.path.join(folder, sub)).st_mtime_ns)
        except FileNotFoundError:
            pass
    return times


def size(folder, path):
    said = spools.SIZE.search(path)
    return int(said[1]) if said else os.lstat(os.path.join(folder, path)).st_size


def same(one, other):
    """Whether two files with the same name but for flags hold the same message."""
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)


def leads_to(path, status):
    """Whether this path leads to the file whose status this is."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except (FileNotFoundError, NotADirectoryError):
        return False


def alike(one, other):
    """Whether rsync would take one for the other, rights included."""
    try:
        marks = [(s.st_mode, s.st_size, s.st_mtime_ns, s.st_uid, s.st_gid) for s in map(os.lstat, (one, other))]
    except FileNotFoundError:
        return False
    return marks[0] == marks[1]


def link(old, new):
    """Where that is not possible (a file that is not ours) rsync copies it."""
    os.makedirs(os.path.dirname(new), mode=0o700, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:
        pass


def replace(target, source):
    """A copy as a file of its own, also in the place of one that others share: nothing is written into that."""
    new = os.path.join(os.path.dirname(target), f".copying-{os.getpid()}")
    try:
        with open(source, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), source)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
                copy.flush()
                if os.geteuid() == 0:
                    os.fchown(copy.fileno(), status.st_uid, status.st_gid)
                os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode))
                os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(copy.fileno())
        os.rename(new, target)
    finally:
        if os.path.lexists(new):
            os.unlink(new)


def incomplete(faults, missing):
    """Why there is no copy."""
    if faults:
        more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
        told = "; ".join(cli.printable(line) for line in faults[:5]) + more
        denied = any("Permission denied" in line for line in faults) and os.geteuid() != 0
        return told + ("; run it as root, or as the user that the spool belongs to" if denied else "")
    some = ", ".join(cli.printable(os.path.join(*one)) for one in sorted(missing)[:3])
    return f"{cli.count(len(missing), 'message')} could not be copied in {ROUNDS_MAX} rounds, {some} among them: something renames them again and again"
