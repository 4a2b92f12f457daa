"""Password files as Dovecot's passwd-file reads them: `owner:{SHA512-CRYPT}$6$...` lines, and whatever else an administrator put there.

MailStore writes such a file, too (learn_logins). Who writes one holds a lock on its folder meanwhile, and puts a new file in the place
of the old one: nobody ever reads half a file.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile

from . import cli

# openssl cuts at 256 octets.
PASSWORD_LEN_MAX = 255


class File:
    """One password file. `lines` are as they stand there, without their ends."""

    def __init__(self, path):
        # A link stays one.
        self.path = os.path.realpath(path)
        self.lines = []

    @contextlib.contextmanager
    def locked(self):
        """Reads the file; nobody else changes it until this ends."""
        folder = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.read()
            yield folder
        finally:
            os.close(folder)

    def read(self):
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            data = b""
        self.lines = data.split(b"\n")
        if self.lines[-1] == b"":
            self.lines.pop()

    def owners(self):
        """Those who have a line, in its order; each once."""
        return list(dict.fromkeys(filter(None, map(owner_of, self.lines))))

    def put(self, owner, password_hash):
        """Gives the owner this password; whether he had one before. Fields behind it stay."""
        mine = [number for number, line in enumerate(self.lines) if owner_of(line) == owner]
        if not mine:
            self.lines.append(key_of(owner) + b":" + password_hash)
            return False
        fields = self.lines[mine[0]].split(b":", 2)
        self.lines[mine[0]] = b":".join([key_of(owner), password_hash, *fields[2:]])
        for number in reversed(mine[1:]):
            del self.lines[number]
        return True

    def remove(self, owner):
        """Whether there was a line of his."""
        kept = [line for line in self.lines if owner_of(line) != owner]
        found = len(kept) < len(self.lines)
        self.lines = kept
        return found

    def write(self, folder, gid=None):
        """Puts it in the place of the old file, whose owner, group and mode it gets; a new one is for its group to read, which is this."""
        number, name = tempfile.mkstemp(prefix=".mailstore-", dir=os.path.dirname(self.path))
        try:
            with os.fdopen(number, "wb") as file:
                try:
                    old = os.lstat(self.path)
                except FileNotFoundError:
                    old = None
                    if gid is not None and gid != os.fstat(file.fileno()).st_gid:
                        os.fchown(file.fileno(), -1, gid)
                    os.fchmod(file.fileno(), 0o640)
                else:
                    if not stat.S_ISREG(old.st_mode):
                        raise cli.Stop(f"{cli.printable(self.path)}: is no file any more")
                    own = os.fstat(file.fileno())
                    if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
                        os.fchown(file.fileno(), old.st_uid, old.st_gid)
                    # Not setuid, whatever it was: the lines are not ours.
                    os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) & 0o777)
                file.writelines(line + b"\n" for line in self.lines)
                file.flush()
                if old is not None and os.fstat(file.fileno()).st_mtime < int(old.st_mtime) + 1:
                    # Dovecot goes by size and second: a file of the same size, written anew in the same second, would pass for the old one.
                    os.utime(file.fileno(), (int(old.st_mtime) + 1,) * 2)
                os.fsync(file.fileno())
            os.rename(name, self.path)
        except BaseException:
            os.unlink(name)
            raise
        os.fsync(folder)


def key_of(owner):
    """How a line begins that Dovecot (2.3 and 2.4) finds for this owner: it looks for quotes with a backslash before them."""
    return re.sub(rb"""(["'\\])""", rb"\\\1", owner)


def owner_of(line):
    """Whose line it is; none: a comment or an empty one."""
    if line.startswith(b"#"):
        return None
    return re.sub(rb"\\(.)", rb"\1", line.split(b":", 1)[0].strip()) or None


def hashed(password):
    """`{SHA512-CRYPT}$6$...` of this password, by what is here; the salt is random."""
    for name, args, lines in (("openssl", ["passwd", "-6", "-stdin"], 1), ("doveadm", ["pw", "-s", "SHA512-CRYPT"], 2)):
        program = shutil.which(name)
        if program is None:
            continue
        done = subprocess.run([program, *args], input=(password + b"\n") * lines, capture_output=True, check=False)
        found = done.stdout.strip().split(b"\n")[-1].strip()
        if found.startswith(b"{SHA512-CRYPT}"):
            found = found[len(b"{SHA512-CRYPT}") :]
        if done.returncode == 0 and found.startswith(b"$6$") and b":" not in found:
            return b"{SHA512-CRYPT}" + found
    raise cli.Stop("neither `openssl passwd -6` nor `doveadm pw` makes a hash here; install openssl")


def checked(password):
    """The password, if one can log in with it."""
    if not password:
        raise cli.Stop("the password is empty")
    if len(password) > PASSWORD_LEN_MAX:
        raise cli.Stop(f"the password has more than {PASSWORD_LEN_MAX} octets")
    if any(octet < 0x20 or octet == 0x7F for octet in password):
        raise cli.Stop("the password has a control character in it")
    return password
