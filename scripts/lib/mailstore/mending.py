"""What to do about a damaged message in a snapshot: a whole one is looked for in the spool and in the other snapshots.

A snapshot's file that is the same as before is a hard link to the earlier one, and rsync takes it for the same by size and time: damage on the
backup's disk would be in every later snapshot too, however well the spool is. So the new snapshot gets the spool's file in its place.
"""

import hashlib
import os

from . import cli, copying, spool as spools, verify

# What makes a message of a snapshot another than it was. The rest (rights, foreign files) is the spool's matter, which `verify` is for.
DAMAGE = ("damaged", "truncated", "grown", "unreadable")


def check(snapshot, template, spool, others):
    """Looks at every message of the snapshot, and mends what can be mended; gives a sentence for each that is damaged."""
    told = []

    def report(finding):
        if finding.kind in DAMAGE:
            told.append(f"{finding.kind} {snapshot.name}/{cli.printable(finding.path)}: {finding.reason}; {mend(finding.path)}")

    def mend(below):
        target = os.path.join(snapshot.spool, below)
        if ",H=" not in below:
            return "its name has no hash to know a whole one by"
        if os.path.isdir(target):
            return "a folder of the backup's disk cannot be read"
        source = whole(spool, below)
        if source:
            copying.replace(target, source)
            return "the spool's is whole and was put in its place here; earlier snapshots that share the file have the damage too"
        found = next((path for path in (whole(other.spool, below) for other in reversed(others)) if path), None)
        if found:
            copying.replace(target, found)
            return f"in the spool it is so too, or gone; a whole one, {cli.printable(found)}, was put in its place here: put it into the spool as well"
        return "no whole one is in the spool or in another snapshot"

    verify.check(snapshot.spool, template, report=report, permissions=False)
    return sorted(told)


def whole(root, below):
    """The file in this spool, or copy of one, that has the message of this path under whatever flags, and whole; none if there is none."""
    folder, name = os.path.dirname(os.path.dirname(below)), copying.unique(os.path.basename(below))
    said = spools.HASH.search(name)
    for sub, other in copying.names(os.path.join(root, folder)):
        if copying.unique(other) != name:
            continue
        path = os.path.join(root, folder, sub, other)
        try:
            if said and sha256(path) == said[1]:
                return path
        except OSError:
            continue
    return None


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for data in iter(lambda: file.read(1 << 20), b""):
            digest.update(data)
    return digest.hexdigest()
