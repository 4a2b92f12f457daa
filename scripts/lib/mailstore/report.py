"""The report as text, and what both its forms have in common."""

import textwrap
import time
import unicodedata

from . import cli, logs

# Reasons and silent owners that are shown one by one.
SHOWN_MAX = 200


class Report:
    """What is to be told."""

    def __init__(self, held, log, now, silent, spool, sent_folder):
        # holdings.Holdings.
        self.held = held
        # logs.Log; none where no log was named.
        self.log = log
        self.now = now
        # Days without a message from which on an owner counts as silent.
        self.silent_days = silent
        self.spool = spool
        # Outgoing and incoming can be told apart.
        self.parted = bool(sent_folder)
        missed = log.missed_of() if log else {}
        names = {logs.owner(one.maildir.owner): one for one in held.owners if one.maildir.owner is not None}
        # Title of an owner -> messages that were not kept, by the log.
        self.missed = {one.title: missed.get(name, 0) for name, one in names.items()}
        # Those of whom nothing is kept, by their names in the log.
        self.strangers = {name: count for name, count in sorted(missed.items()) if name not in names and name != "-"}
        # Whose messages nobody knows: a server took them without a login.
        self.nobodys = missed.get("-", 0)
        self.titles = {name: one.title for name, one in names.items()}

    def title(self, name):
        """An owner of the log, for people."""
        return "nobody known" if name == "-" else self.titles.get(name, name)

    def not_kept(self):
        """The reasons, the most frequent first."""
        return sorted(self.log.not_kept.values(), key=lambda one: (-one.count, one.owner, one.reason)) if self.log else []

    def later(self):
        return sorted(self.log.later.values(), key=lambda one: (-one.count, one.owner, one.reason)) if self.log else []

    def silent(self):
        """Those of whom nothing was kept for so long, the longest first."""
        since = self.now - self.silent_days * 86400
        quiet = [one for one in self.held.owners if one.last is None or one.last <= since]
        return sorted(quiet, key=lambda one: (one.last or 0, one.title))

    def age(self, seconds):
        """`3 d` ago, or never."""
        if seconds is None:
            return "never"
        passed = max(self.now - seconds, 0)
        for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
            if passed >= (2 * unit if unit == 86400 else unit):
                return f"{int(passed // unit):,} {name}"
        return "now"

    def period(self):
        number = len(self.held.days.dates)
        return "today" if number == 1 else f"the last {number} days"


def moment(seconds):
    """Local time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"


def text(report):
    """The lines for a terminal of 80 columns."""
    held = report.held
    yield f"MailStore, {moment(report.now)}: what is kept in {cli.printable(report.spool)}"
    yield ""
    with_log = report.log is not None
    yield row("owner", "in", "out", "size", "last", "not kept" if with_log else "")
    yield "-" * 79
    for one in held.owners:
        missed = report.missed.get(one.title, 0)
        figures = (f"{one.incoming:,}", f"{one.outgoing:,}", cli.amount(one.octets), report.age(one.last))
        yield row(one.title, *figures, f"{missed:,}" if missed else "")
    for name, missed in report.strangers.items():
        yield row(cli.printable(name), "-", "-", "-", "-", f"{missed:,}")
    if report.nobodys:
        yield row("nobody known", "-", "-", "-", "-", f"{report.nobodys:,}")
    if held.owners or report.strangers or report.nobodys:
        yield "-" * 79
    last = max((one.last for one in held.owners if one.last is not None), default=None)
    figures = (f"{held.total('incoming'):,}", f"{held.total('outgoing'):,}", cli.amount(held.total("octets")), report.age(last))
    yield row(cli.count(len(held.owners), "owner"), *figures, f"{report.log.missed():,}" if with_log else "")
    yield f"{report.period()}: {sum(held.incoming):,} in, {sum(held.outgoing):,} out"
    if not report.parted:
        yield "out is not told from in: sent_folder is the inbox"
    if with_log:
        yield from log_text(report)
    quiet = report.silent()
    yield ""
    yield f"silent for {cli.count(report.silent_days, 'day')} or more: {cli.count(len(quiet), 'owner')}"
    for one in quiet[:SHOWN_MAX]:
        when = f"last {moment(one.last)[:10]} ({report.age(one.last)})" if one.last is not None else "nothing is kept"
        yield f"  {one.title}: {when}"
    yield from and_more(quiet)


def log_text(report):
    log = report.log
    yield ""
    yield f"not kept, by the log of {report.period()}: {cli.count(log.missed(), 'message')}"
    for table in (report.not_kept(), report.later()):
        for one in table[:SHOWN_MAX]:
            folder = f", {cli.printable(one.folder())}" if one.folder() else ""
            yield f"  {cli.printable(report.title(one.owner))}{folder}: {cli.count(one.count, 'time')}, last {moment(one.last)}"
            indent = {"initial_indent": "    ", "subsequent_indent": "    "}
            yield from textwrap.wrap(cli.printable(one.reason), 79, break_on_hyphens=False, **indent)
        yield from and_more(table)
    yield ""
    if log.lines:
        yield f"the log, {moment(log.first)} to {moment(log.last)}:"
        yield from textwrap.wrap(
            ", ".join(f"{name}: {number:,}" for name, number in log.events.items()), 79, initial_indent="  ", subsequent_indent="  "
        )
    else:
        yield f"the log has no line of start_proxies of {report.period()}"
    if log.counters_at is not None:
        yield f"counters since the start, at {moment(log.counters_at)}:"
        for name, counters in log.counters.items():
            figures = ", ".join(f"{key} {value:,}" for key, value in counters.items())
            yield from textwrap.wrap(f"{name or 'all'}: {figures}", 79, initial_indent="  ", subsequent_indent="    ")


def and_more(items):
    if len(items) > SHOWN_MAX:
        yield f"  and {len(items) - SHOWN_MAX:,} more"


def row(owner, incoming, outgoing, octets, last, missed):
    """One of the table; a name that is too long gets a line of its own."""
    figures = f"{incoming:>9} {outgoing:>8} {octets:>9} {last:>8} {missed:>8}".rstrip()
    width = columns(owner)
    if width > 32:
        return f"{owner}\n{'':32} {figures}"
    return f"{owner}{' ' * (32 - width)} {figures}"


def columns(text):
    """How wide a terminal shows it."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
