"""Who may read what: for files that another program, running as another user, has to read."""

import grp
import os
import pwd
import stat


def groups_of(name):
    """The numbers of the groups of this user, as they are when a program starts as him."""
    entry = pwd.getpwnam(name)
    return os.getgrouplist(name, entry.pw_gid)


def group_name(gid):
    """The group's name, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def group_number(name):
    """The number of this group, or none where it is not known here."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return int(name) if name.isdigit() else None


def may_read(path, uid, gids):
    """Whether this user with these groups may open the file: the bits of the file and of every folder above it. (No ACLs.)"""
    path = os.path.realpath(path)
    place = path
    while place != "/":
        place = os.path.dirname(place)
        if not has(os.stat(place), uid, gids, 0o1):
            return False
    return has(os.stat(path), uid, gids, 0o4)


def has(status, uid, gids, wanted):
    """Whether the mode gives the user what is wanted: 4 read, 2 write, 1 search."""
    if uid == 0:
        return True
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == uid:
        mode >>= 6
    elif status.st_gid in gids:
        mode >>= 3
    return mode & wanted == wanted
