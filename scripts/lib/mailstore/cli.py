"""The command line: options, messages and exit statuses that are the same everywhere.

Exit status: 0 done; 1 something is wrong, and what; 2 wrong usage; 130 interrupted.
"""

import argparse
import os
import signal
import stat
import sys

from . import config


class Stop(Exception):
    """Ends a script with this sentence and exit status 1."""


def tool(name):
    """How the user types one of these scripts: scripts/verify here, mailstore-verify where it is installed."""
    return ("mailstore-" if os.path.basename(sys.argv[0]).startswith("mailstore-") else "scripts/") + name


class Parser(argparse.ArgumentParser):
    """No abbreviations: an option that is unknown today must not become another one tomorrow."""

    def __init__(self, name, **more):
        name = tool(name)
        more.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(prog=name, allow_abbrev=False, **more)

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            # Without what belongs to it: somebody may have tried to give a password.
            options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            self.error(f"unrecognized arguments: {printable(' '.join(options or unknown))}")
        return found

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def add_config(self):
        self.add_argument(
            "-c", "--config", metavar="FILE", help="the mailstore.ini (default: as start_proxies finds it)"
        )


def run(parser, main):
    """Runs `main(options)` and exits with what it returns (none: 0)."""
    # A pipe that is closed (`| head`) ends the script as it ends any other.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # So that `finally` is reached.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    # What a terminal cannot show must not end a script.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    options = parser.parse_args()
    try:
        sys.exit(main(options) or 0)
    except (Stop, config.Fault) as why:
        sys.stdout.flush()
        print(f"{parser.prog}: {printable(str(why))}", file=sys.stderr)
        sys.exit(1)
    except UnicodeError:
        sys.stdout.flush()
        print(f"{parser.prog}: a name on the command line or in mailstore.ini is not UTF-8", file=sys.stderr)
        sys.exit(1)
    except MemoryError:
        sys.stdout.flush()
        print(f"{parser.prog}: the memory does not suffice; not everything was done", file=sys.stderr)
        sys.exit(1)
    except OSError as why:
        sys.stdout.flush()
        print(f"{parser.prog}: {sentence(why)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)


def is_folder(path):
    """Whether there is such a folder. Who may not look is told so, and not that it is gone."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except PermissionError as why:
        raise Stop(f"{sentence(why)}; run this as root, or as the user that MailStore runs as") from None
    except OSError:
        return False


def sentence(why):
    """An OSError as it is told: the path first."""
    name = os.fsdecode(why.filename) if isinstance(why.filename, bytes) else why.filename
    text = why.strerror or str(why)
    return f"{printable(str(name))}: {text}" if name is not None else text


def printable(text):
    """A text out of a file or a name, as it may go to a terminal: control and invisible characters stand as \\x..."""
    out = []
    for c in text:
        if c.isprintable():
            out.append(c)
        else:
            # Half of a pair of surrogates, which a subject may hold, is no octet that was escaped.
            escaped = "surrogateescape" if "\udc80" <= c <= "\udcff" else "surrogatepass"
            out.extend(f"\\x{byte:02x}" for byte in c.encode("utf-8", escaped))
    return "".join(out)


def word(text):
    """The same as one word of a line that is read by programs too: blanks, quotes and backslashes stand as \\x.. as well. Never empty."""
    return "".join(f"\\x{ord(c):02x}" if c in ' "\\' else printable(c) for c in text) or "\\"


def descriptor(text):
    """A file descriptor's number, as an option's value."""
    number = int(text)
    if not 0 <= number < 1 << 31:
        raise ValueError
    return number


def amount(octets):
    """Octets for people: 1.4 GB (powers of 1000, as disks are sold)."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if unit == "bytes" or octets >= 100 else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} TB"


def count(number, noun):
    """`1 message`, `2 messages`, `1,000 messages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
