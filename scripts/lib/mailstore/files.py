"""Files that are put in place whole or not at all."""

import contextlib
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
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
