"""What the spool holds, an owner at a time, by the names of the files alone: they tell size, time and place.

A message counts for the day on which it was kept (the seconds in its name), which for what was fetched from an old mailbox is not the day on
which it was sent.
"""

import bisect
import datetime
import os
import time

from . import owners, spool as spools


class Days:
    """The last days, the running one included, in local time."""

    def __init__(self, now, number):
        today = datetime.date.fromtimestamp(now)
        self.dates = [today - datetime.timedelta(days=back) for back in range(number - 1, -1, -1)]
        # The seconds at which each begins; a day is not always 24 hours long.
        self.begins = [time.mktime((day.year, day.month, day.day, 0, 0, 0, 0, 0, -1)) for day in self.dates]

    def index(self, seconds):
        """Which of the days; -1 for one before. What lies in the future (a clock was wrong) is today's."""
        return bisect.bisect_right(self.begins, seconds) - 1


class Holding:
    """What is kept of one owner."""

    __slots__ = ("maildir", "title", "incoming", "outgoing", "octets", "last")

    def __init__(self, maildir):
        self.maildir = maildir
        self.title = maildir.title()
        # Messages.
        self.incoming = 0
        self.outgoing = 0
        self.octets = 0
        # When the last one was kept, in seconds since 1970; none: there is none.
        self.last = None


class Holdings:
    """What is kept of all."""

    def __init__(self, days):
        self.days = days
        self.owners = []
        # Messages by day.
        self.incoming = [0] * len(days.dates)
        self.outgoing = [0] * len(days.dates)
        # What could not be read, as OSErrors.
        self.failed = []

    def total(self, field):
        return sum(getattr(holding, field) for holding in self.owners)


def read(spool, template, sent_folder, days):
    """All that is there now. Out is what lies in `sent_folder` (as mailstore.ini has it); where that is the inbox, all is in."""
    sent = owners.folder_dir(sent_folder)
    held = Holdings(days)
    for maildir in spools.maildirs(spool, template):
        held.owners.append(_read(maildir, sent, held))
    return held


def _read(maildir, sent, held):
    holding = Holding(maildir)
    index = held.days.index
    try:
        folders = maildir.folders()
    except OSError as why:
        held.failed.append(why)
        return holding
    for folder in folders:
        out = folder == sent != ""
        by_day = held.outgoing if out else held.incoming
        number = octets = last = 0
        for sub in ("new", "cur"):
            place = os.path.join(maildir.dir, folder, sub)
            try:
                names = os.listdir(place)
            except FileNotFoundError:
                continue
            except OSError as why:
                held.failed.append(why)
                continue
            for name in names:
                seconds = _seconds(name)
                if seconds is None:
                    # No message: scripts/verify tells of it.
                    continue
                number += 1
                size = spools.SIZE.search(name)
                octets += int(size[1][:18]) if size else _size(os.path.join(place, name))
                last = max(last, seconds)
                day = index(seconds)
                if day >= 0:
                    by_day[day] += 1
        if number:
            holding.outgoing += number if out else 0
            holding.incoming += 0 if out else number
            holding.octets += octets
            holding.last = max(holding.last or 0, last)
    return holding


def _seconds(name):
    """When it was kept, as the name of a message says."""
    digits = name.partition(".")[0].partition("_")[0]
    # More digits than these are no time that a calendar knows.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 11 else None


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        # It has got another name meanwhile.
        return 0
