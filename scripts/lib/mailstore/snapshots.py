"""The folder that holds the snapshots of a spool (scripts/backup): which are whole, how one gets its name, which go.

    DEST/.mailstore-backup              snapshots may be made here; it is the lock as well
    DEST/2025-01-31T023000/             a snapshot, whole and flushed before it got this name, local time
        mailSpool/                      the spool, without what lay in `tmp`
        mailstore.ini                   as it was
        mailstore-snapshot              that we made it, and what is in it: key = value
    DEST/latest                         a symbolic link to the newest
    DEST/unfinished/                    what a run is at, or was at when it was interrupted
    DEST/removing-2025-01-31T023000/    what is being removed

Whatever else lies there is somebody else's and stays.
"""

import datetime
import errno
import fcntl
import os
import re
import shutil
import subprocess

from . import cli, files

MARKER = ".mailstore-backup"
FACTS = "mailstore-snapshot"
SPOOL = "mailSpool"
INI = "mailstore.ini"
UNFINISHED = "unfinished"
REMOVING = "removing-"
LATEST = "latest"

NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}\Z")
FORM = "%Y-%m-%dT%H%M%S"
FACTS_HEAD = "# A snapshot that mailstore-backup made. Rename its folder, and it is never thinned out.\n"
MARKER_TEXT = "mailstore-backup makes snapshots beside this file, and none where it is missing (a disk that is not mounted).\n"

# The rule: of each of the last so many periods that have a snapshot, the newest one stays.
PERIODS = {
    "last": lambda when: when,
    "daily": lambda when: when.date(),
    "weekly": lambda when: when.isocalendar()[:2],
    "monthly": lambda when: (when.year, when.month),
    "yearly": lambda when: when.year,
}
# More than what the clock is put back by each autumn.
AHEAD = datetime.timedelta(days=1)
RULE = {"last": 1, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 0}


def unmounted(path, fstab="/etc/fstab"):
    """The mount point on the way to this path that /etc/fstab names and where nothing is mounted; none if there is none."""
    try:
        with open(fstab, "rb") as file:
            fields = [line.split() for line in file if not line.lstrip().startswith(b"#")]
    except OSError:
        return None
    for field in fields:
        if len(field) < 2 or not field[1].startswith(b"/"):
            continue
        # Blanks and the like stand there in octal.
        place = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field[1]))
        place = os.path.realpath(place)
        if (path == place or path.startswith(place.rstrip("/") + "/")) and not os.path.ismount(place):
            return place
    return None


def time_of(name):
    """When a snapshot of this name was made; none where it is no name of one."""
    if not NAME.match(name):
        return None
    try:
        return datetime.datetime.strptime(name, FORM)
    except ValueError:
        return None


def kept(names, rule, now):
    """What the rule keeps of these snapshots: their names, each with the periods that it is kept for. Always the newest.

    Those that a wrong clock dated stay, and count for nothing: they would take the places of the others, and those go. (If it is wrong now, all
    others are ahead of it, and stay.)
    """
    ahead = {name for name in names if time_of(name) > now + AHEAD}
    newest_first = sorted(set(names) - ahead, reverse=True)
    reasons = {name: ["ahead of the clock"] for name in ahead}
    for kind, period in PERIODS.items():
        seen = set()
        for name in newest_first:
            if len(seen) >= rule[kind]:
                break
            which = period(time_of(name))
            if which not in seen:
                seen.add(which)
                reasons.setdefault(name, []).append(kind)
    for name in newest_first[:1]:
        reasons.setdefault(name, ["last"])
    return reasons


class Busy(cli.Stop):
    """Another run is at work in this folder."""


class Snapshot:
    """One that has its name."""

    def __init__(self, path, facts):
        self.path = path
        self.name = os.path.basename(path)
        self.spool = os.path.join(path, SPOOL)
        self.facts = facts

    def number(self, key):
        """What the snapshot says of itself: messages, octets, new. None where it does not."""
        value = self.facts.get(key, "")
        return int(value) if value.isascii() and value.isdigit() else None

    def foreign(self):
        """What lies in it that is not ours."""
        return sorted(set(os.listdir(self.path)) - {SPOOL, INI, FACTS})


class Store:
    """The folder DEST."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        self.unfinished = os.path.join(self.path, UNFINISHED)
        self.copy = os.path.join(self.unfinished, SPOOL)
        self.lock_fd = None

    def marker(self):
        return os.path.join(self.path, MARKER)

    def is_prepared(self):
        return os.path.isfile(self.marker())

    def is_new(self):
        """Whether there is nothing, and nothing is to be mounted, so that it may be prepared without being asked to."""
        try:
            if os.listdir(self.path):
                return False
        except FileNotFoundError:
            pass
        away = unmounted(self.path)
        if away:
            raise cli.Stop(f"{cli.printable(self.path)}: /etc/fstab has a disk for {cli.printable(away)}, and it is not mounted")
        return True

    def require_prepared(self):
        if not self.is_prepared():
            where = cli.printable(self.path)
            raise cli.Stop(
                f"{where}: has no {MARKER}, so nothing is written there; is its disk mounted? "
                f"If snapshots are to be made there, run this once by hand: with --init, where something else lies there"
            )

    def prepare(self, owner):
        """Makes the folder and its marker, once. `owner` is the user id that owns the spool."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        try_out(self.path, owner)
        fd = os.open(self.marker(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(MARKER_TEXT)
            file.flush()
            os.fsync(fd)
        files.flush(self.path)

    def lock(self):
        """For as long as this process, and whatever it starts with this descriptor, lives."""
        self.lock_fd = os.open(self.marker(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as why:
            if why.errno in (errno.EAGAIN, errno.EACCES):
                raise Busy(f"{cli.printable(self.path)}: another run is at work there; this one has done nothing") from None
            raise cli.Stop(f"{cli.printable(self.marker())}: cannot be locked: {why.strerror}") from None

    def snapshots(self):
        """Those that we made, by name, the oldest first."""
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if time_of(entry.name) and entry.is_dir(follow_symlinks=False):
                    facts = read_facts(os.path.join(entry.path, FACTS))
                    spool = os.path.join(entry.path, SPOOL)
                    if facts is not None and os.path.isdir(spool) and not os.path.islink(spool):
                        found.append(Snapshot(entry.path, facts))
        return sorted(found, key=lambda snapshot: snapshot.name)

    def begin(self):
        """Room for the copy; what an interrupted run left there is gone on with."""
        os.makedirs(self.copy, mode=0o700, exist_ok=True)
        # The copy gets the spool's own owner and mode; nobody else looks into what is around it.
        os.chmod(self.unfinished, 0o700)

    def finish(self, now, facts, ini):
        """The copy becomes a snapshot: all of it is on disk before it has a name."""
        kept_ini = os.path.join(self.unfinished, INI)
        if ini is None:
            unlink_if_there(kept_ini)
        else:
            write(kept_ini, ini)
        lines = "".join(f"{key} = {cli.printable(str(value))}\n" for key, value in facts.items())
        write(os.path.join(self.unfinished, FACTS), (FACTS_HEAD + lines).encode("utf-8", "backslashreplace"))
        flush_all(self.unfinished)
        name = now.strftime(FORM)
        while os.path.lexists(os.path.join(self.path, name)):
            # The clock was set back, for winter say.
            now += datetime.timedelta(seconds=1)
            name = now.strftime(FORM)
        path = os.path.join(self.path, name)
        os.rename(self.unfinished, path)
        files.flush(self.path)
        self.point_to(name)
        return Snapshot(path, {key: str(value) for key, value in facts.items()})

    def point_to(self, name):
        """`latest` leads to this snapshot, at any moment to a whole one."""
        link, new = os.path.join(self.path, LATEST), os.path.join(self.path, "." + LATEST)
        if os.path.lexists(link) and not os.path.islink(link):
            return
        unlink_if_there(new)
        os.symlink(name, new)
        os.rename(new, link)
        files.flush(self.path)

    def remove(self, snapshot):
        """It loses its name first, so that half of it never looks whole; what is around the mail goes last, so that the rest is known as ours."""
        away = os.path.join(self.path, REMOVING + snapshot.name)
        os.rename(snapshot.path, away)
        self.clear(away)

    def leftovers(self):
        """What interrupted runs had begun to remove."""
        names = os.listdir(self.path)
        paths = (os.path.join(self.path, name) for name in names if name.startswith(REMOVING) and time_of(name[len(REMOVING) :]))
        return sorted(path for path in paths if os.path.isdir(path) and not os.path.islink(path) and ours(path))

    def clear(self, away):
        spool = os.path.join(away, SPOOL)
        if os.path.lexists(spool):
            shutil.rmtree(spool)
        unlink_if_there(os.path.join(away, INI))
        unlink_if_there(os.path.join(away, FACTS))
        os.rmdir(away)


def ours(path):
    """Whether this folder is what is left of a snapshot: `clear` takes what says so last."""
    return read_facts(os.path.join(path, FACTS)) is not None or not os.listdir(path)


def read_facts(path):
    """What stands in a snapshot's `mailstore-snapshot`; none where that is not there or not ours."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
    except OSError:
        return None
    if not text.startswith(FACTS_HEAD):
        return None
    pairs = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return {key: value for key, equals, value in pairs if equals}


def try_out(folder, owner):
    """Fails unless this file system can hold snapshots: several names for a file, the names of messages, owners."""
    first, second = os.path.join(folder, f".try-{os.getpid()},S=1:2,S"), os.path.join(folder, f".try-{os.getpid()},S=1:2,ST")
    what = "names like those of messages (with a colon)"
    try:
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        what = "several names for a file (hard links), without which every snapshot takes the room of the whole spool"
        os.link(first, second)
        what = "files that belong to somebody else"
        if os.geteuid() == 0:
            os.chown(first, owner, -1)
    except OSError as why:
        if why.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES):
            raise
        raise cli.Stop(f"{cli.printable(folder)}: this file system cannot hold {what}: {why.strerror}") from None
    finally:
        unlink_if_there(first)
        unlink_if_there(second)


def write(path, data):
    """Anew, whole, for the owner alone."""
    unlink_if_there(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def unlink_if_there(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def flush_all(path):
    """Everything on this file system: one flush for a hundred thousand files."""
    done = subprocess.run(["sync", "-f", path], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise cli.Stop(f"{cli.printable(path)}: cannot be flushed to disk: {done.stderr.decode(errors='replace').strip()}")
