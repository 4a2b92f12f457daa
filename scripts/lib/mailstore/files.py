"""Files that are put in place whole or not at all, and what root should not read for others."""

import contextlib
import errno
import os
import stat
import tempfile


def replace(path, data):
    """Writes a file so that whoever reads it finds the old or the new, whole. A new one is its owner's alone; one that is there keeps its mode, owner and
    group. A link is followed.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    if before and not stat.S_ISREG(before.st_mode):
        # /dev/stdout, say.
        with open(path, "wb") as file:
            file.write(data)
        return
    # Told by its own name, not by that of the temporary file.
    os.stat(folder)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".mailstore-", suffix=".new")
    try:
        with open(handle, "wb") as file:
            if before:
                # Only root can; where that matters the mode must not open the file to others.
                with contextlib.suppress(PermissionError):
                    os.fchown(handle, before.st_uid, before.st_gid)
                    os.fchmod(handle, stat.S_IMODE(before.st_mode) & 0o777)
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush(folder)


def flush(path):
    """A file, or a folder's entries, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_for_root(handle, top, path):
    """Raises an OSError if root reads an open file by a link that somebody else may have made: it lies outside of this folder and belongs to
    another user than the folder does. (A Maildir that was moved to another disk belongs to the same.)
    """
    if os.geteuid() != 0:
        return
    owner = os.stat(top).st_uid
    if owner == 0 or os.fstat(handle).st_uid == owner:
        return
    # Of the file itself, whatever became of the links meanwhile.
    if not os.readlink(f"/proc/self/fd/{handle}").startswith(os.path.join(os.path.realpath(top), "")):
        raise OSError(errno.EPERM, "is reached by a link and belongs to another user: not read by root", path)
