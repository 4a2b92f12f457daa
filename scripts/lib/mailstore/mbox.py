"""The mbox format: RFC 4155, with the quoting of `mboxrd`, which alone can be undone."""

import calendar
import re
import time

FROM_QUOTED = re.compile(rb"(?m)^(>*From )")
FROM_UNQUOTED = re.compile(rb"(?m)^>(>*From )")
# Of one line, and not much of it: whoever sends a mail chooses how long it is.
SENDER = re.compile(rb"(?im)^(?:Return-Path|From):([^\n]{1,1000})")
ADDRESS = re.compile(rb"[^\s<>\",;()@]{1,100}@[^\s<>\",;()]{1,300}")

# A larger one is no message, octets; and so much of a longer line is read at once.
MESSAGE_LEN_MAX = 1 << 30
LINE_LEN_MAX = 1 << 20

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# `From joe@example.com Tue Nov 14 22:13:20 2023`: seconds may be missing, a zone may stand before or behind the year, or a remark at the end.
FROM_LINE = re.compile(
    rb"From .*?\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\s+(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+(\d{1,2})\s+"
    rb"(\d{1,2}):(\d\d)(?::(\d\d))?(?:\s+([+-]\d{4}|[A-Z]{1,5}))?\s+(\d{4})(?:\s+([+-]\d{4}))?\b"
)
# Newer Thunderbirds write no date at all.
FROM_BARE = re.compile(rb"From (?:- ?)?\r?\n?\Z")
HEADER_LINE = re.compile(rb"(?:[!-9;-~]+[ \t]*:|>?From )")


def entry(message, date):
    """The message as it stands in an mbox."""
    text = message.replace(b"\r\n", b"\n")
    sender = _sender(text[: text.find(b"\n\n") if b"\n\n" in text else len(text)])
    at = time.gmtime(max(date, 0))
    line = f"{DAYS[at.tm_wday]} {MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {at.tm_year:04}"
    end = b"\n" if text.endswith(b"\n") else b"\n\n"
    return b"From " + (sender or b"MAILER-DAEMON") + b" " + line.encode() + b"\n" + FROM_QUOTED.sub(rb">\1", text) + end


def _sender(header):
    """The address of the first field that has one."""
    found = (ADDRESS.search(field[1]) for field in SENDER.finditer(header))
    return next((address[0] for address in found if address), None)


def date_of(line):
    """The date of a From_ line, Unix time in seconds (UTC where it names no zone); none where it has none."""
    found = FROM_LINE.match(line)
    if not found:
        return None
    month, day, hour, minute, second, _, year, zone = found.groups()
    try:
        seconds = calendar.timegm(
            (int(year), MONTHS.index(month.decode()) + 1, int(day), int(hour), int(minute), int(second or 0), 0, 0, 0)
        )
    except (ValueError, OverflowError):
        return None
    zone = zone or (found[6] if found[6] and found[6][:1] in b"+-" else None)
    if zone:
        offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
        seconds += offset if zone[:1] == b"-" else -offset
    return seconds


def messages(file):
    """The messages in this file, open for reading bytes: the From_ line, and the message as it was, quoting undone."""
    current, text, last = None, bytearray(), b""
    blank = True
    line = file.readline(LINE_LEN_MAX)
    while line:
        following = file.readline(LINE_LEN_MAX)
        if blank and is_from_line(line, following):
            if current is not None:
                yield current, _message(text, last)
            current, text, last = line, bytearray(), b""
            # A message without a header may follow at once.
            blank = True
        else:
            if current is None and line.strip():
                raise ValueError("does not begin with a From_ line")
            if current is not None:
                if len(text) + len(line) > MESSAGE_LEN_MAX:
                    raise ValueError(f"has a message that is larger than {MESSAGE_LEN_MAX >> 20} MiB; what follows it was not read")
                text += line
                last = line
            blank = not line.strip(b"\r\n")
        line = following
    if current is not None:
        yield current, _message(text, last)


def is_from_line(line, following):
    if not line.startswith(b"From "):
        return False
    return bool(FROM_LINE.match(line)) or bool(FROM_BARE.match(line) and HEADER_LINE.match(following))


def _message(text, last):
    # The blank line before the next From_ line is none of the message's.
    if not last.strip(b"\r\n"):
        del text[len(text) - len(last) :]
    return FROM_UNQUOTED.sub(rb"\1", bytes(text))
