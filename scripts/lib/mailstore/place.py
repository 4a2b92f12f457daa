"""Where an owner's mail lies: the options that say it, and the owner's Maildir."""

import fcntl
import os

from . import cli, config
from . import spool as spools


def add_options(parser):
    parser.add_config()
    parser.add_argument(
        "--spool", metavar="DIR", help="this spool in the place of the one that mailstore.ini names: a copy out of a back-up, say"
    )


def settings(options):
    """What mailstore.ini says, with --spool in force; with --spool there need not be any such file."""
    try:
        found = config.load(options.config)
    except config.Fault:
        if options.config is not None or options.spool is None or any(map(os.path.exists, config.PLACES)):
            raise
        found = config.Config("", {})
    if options.spool is not None:
        found.spool = options.spool
    return found


def maildir(found, owner):
    """The Maildir of this owner, as a person names him."""
    return spools.maildir(found.spool, found.template, owner, found.default_domain)


def lock(maildir, what):
    """Nobody else does this for the same owner while what this returns is open."""
    handle = os.open(maildir.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise cli.Stop(f"{maildir.title()}: another {what} of this owner is running; wait for its end") from None
    return handle
