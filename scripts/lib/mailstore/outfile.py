"""Files that people get: whole or not at all, for their owner's eyes only, and never in the place of another one unless told so."""

import contextlib
import os
import sys
import tempfile

from . import cli, files


@contextlib.contextmanager
def new_file(path, force):
    """A file, open for writing, that is at `path` once the block has ended without an error. `-` is the standard output."""
    if path == "-":
        # Without a place in it that could be sought.
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as file:
            yield file
        return
    check(path, force)
    folder = os.path.dirname(path) or "."
    handle, temporary = tempfile.mkstemp(prefix="." + os.path.basename(path)[:100] + ".", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _place(temporary, path, force)
        files.flush(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def check(path, force):
    """Nothing stands in the way."""
    if os.path.isdir(path):
        raise cli.Stop(f"{cli.printable(path)}: is a folder; name a file")
    if os.path.lexists(path) and not force:
        raise cli.Stop(f"{cli.printable(path)}: is there already; take another name, or --force to write over it")


def _place(temporary, path, force):
    if force:
        os.rename(temporary, path)
        return
    try:
        # Not a rename: that one would take the place of what came meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        check(path, force)
        raise
    except OSError:
        # A file system without hard links.
        check(path, force)
        os.rename(temporary, path)
