"""Reads mailstore.ini as start_proxies does, and takes from it what the scripts need.

The syntax is that of src/config/read.rs. What is wrong with the file is for `start_proxies -t` to tell; here a file counts as wrong
only where what is needed cannot be understood.
"""

import os
import sys

from .owners import Template, lower

# Where start_proxies looks without -c.
PLACES = ("mailstore.ini", "/etc/mailstore/mailstore.ini")


class Fault(Exception):
    """What is wrong with the file, and what would be right."""


class Config:
    """What one mailstore.ini says."""

    def __init__(self, path, sections):
        self.path = path
        # Lower-case name of a section -> its keys in lower case and their values.
        self.sections = sections
        shared = sections.get("mailstore", {})
        base = os.path.dirname(os.path.abspath(path))

        def place(key, default=""):
            value = shared.get(key) or default
            if "\0" in value:
                raise Fault(f"{path}: [mailstore] {key}: holds a NUL; start_proxies -t tells more")
            return os.path.join(base, value) if value else ""

        self.spool = place("spool", "mailSpool")
        self.learn_logins = place("learn_logins")
        # The logins to the archive that scripts/archive-user writes: no key names it.
        self.archive_users = os.path.join(base, "archive-users")
        try:
            self.template = Template(shared.get("maildir") or "%d/%n")
        except ValueError as why:
            raise Fault(f"{path}: [mailstore] maildir: {why}; start_proxies -t tells more") from None
        self.default_domain = os.fsdecode(lower(os.fsencode(shared.get("default_domain") or "localhost")))
        self.sent_folder = shared.get("sent_folder", "Sent")
        self.user = shared.get("user", "")
        self.group = shared.get("group", "")

    def proxies(self):
        """The proxies' sections, as (kind, name, keys)."""
        for name, keys in self.sections.items():
            kind = name.split(":")[0]
            if kind in ("pop3", "imap", "smtp"):
                yield kind, name, keys


def load(path=None):
    """The configuration in this file, or in the first of PLACES that is there."""
    if path is None:
        path = next((place for place in PLACES if os.path.exists(place)), None)
        if path is None:
            raise Fault(f"there is no {' and no '.join(PLACES)}; name the file with -c FILE")
        if path == PLACES[0] and os.path.exists(PLACES[1]) and not os.path.samefile(*PLACES):
            # As start_proxies does; but who stands in the folder of the sources may mean the other one.
            print(f"note: {path} of this folder is read, and not {PLACES[1]}; -c FILE names another", file=sys.stderr)
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except OSError as why:
        raise Fault(f"{path}: cannot be read: {why.strerror}; name a mailstore.ini with -c FILE") from None
    # A comment may be in any encoding.
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    return Config(path, sections(text, path))


def sections(text, path):
    """The sections of this text."""
    found = {}
    current = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            name, closed, rest = line[1:].partition("]")
            if not closed or uncommented(rest):
                raise Fault(f"{path}: line {number}: is not a section; start_proxies -t tells more")
            current = found.setdefault(name.strip().lower(), {})
            continue
        key, equals, value = line.partition("=")
        if not equals or current is None:
            raise Fault(f"{path}: line {number}: is neither a section nor key = value; start_proxies -t tells more")
        current.setdefault(key.strip().lower(), value_of(value))
    return found


def value_of(text):
    """What stands behind `=`, without comment and quotes."""
    quoted = text.lstrip()
    if quoted.startswith('"') and '"' in quoted[1:]:
        return quoted[1:].split('"')[0].strip()
    return uncommented(text)


def uncommented(text):
    """The text up to a `#` or `;` with a blank before it."""
    blank = False
    for at, c in enumerate(text):
        if blank and c in "#;":
            return text[:at].strip()
        blank = c.isspace()
    return text.strip()
