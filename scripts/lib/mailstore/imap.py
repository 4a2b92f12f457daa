"""An IMAP account that mail is put into: logging in, its folders, what lies in them, adding a message.

Python's imaplib does the talking. Everything but `Account.create` and `Account.append` only reads (EXAMINE, BODY.PEEK).
"""

import imaplib
import ipaddress
import re
import socket
import ssl
import time
import urllib.parse

from . import cli, owners

# Seconds that a server may be silent, and until it has said its first word: at a port of another kind that word never comes.
TIMEOUT = 180
GREETING = 20
# Messages asked about in one command.
BATCH = 500

# What OpenSSL calls an answer that is no TLS.
NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")

FIELDS = ("MESSAGE-ID", "DATE", "FROM", "TO", "SUBJECT", "RECEIVED")

FLAGS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "D": "\\Draft", "P": "$Forwarded"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Refused(Exception):
    """The server said NO or BAD; the rest of the session is well."""


class Gone(Exception):
    """The connection is lost."""


class Address:
    """imaps://HOST[:PORT] or imap://HOST[:PORT]."""

    def __init__(self, text):
        parts = urllib.parse.urlsplit(text)
        if parts.scheme not in ("imaps", "imap"):
            raise ValueError("begins neither with imaps:// nor with imap://")
        if parts.username is not None or parts.password is not None:
            raise ValueError("names a user: give him with --user; the password is asked for, or comes with --password-file or --password-fd")
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("is not imaps://HOST or imaps://HOST:PORT")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("has a port that is no number from 1 to 65535") from None
        self.host = parts.hostname
        self.implicit = parts.scheme == "imaps"
        self.port = port or (993 if self.implicit else 143)

    def __str__(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'imaps' if self.implicit else 'imap'}://{host}:{self.port}"


class _Patient:
    """Once the server has greeted it may take its time: the first command is imaplib's own."""

    def capability(self):
        self.sock.settimeout(TIMEOUT)
        try:
            return super().capability()
        except TimeoutError as why:
            # One that leaves the constructor means that there was no greeting.
            raise self.abort(str(why)) from None


class _Clear(_Patient, imaplib.IMAP4):
    """Without TLS at first."""


class _Secure(_Patient, imaplib.IMAP4_SSL):
    """With TLS from the first byte."""


class _Loopback(_Clear):
    """Without TLS: to this machine only, whatever the name leads to."""

    def _create_socket(self, timeout):
        sock = socket.create_connection((self.host, self.port), timeout)
        if not ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback:
            sock.close()
            raise cli.Stop(f"{self.host} is not this machine: without TLS everybody on the way reads the password; leave --no-tls out")
        return sock


class Folder:
    """One of the account's, as LIST tells of it."""

    def __init__(self, attributes, separator, name):
        # In lower case.
        self.attributes = attributes
        self.separator = separator
        # As on the wire.
        self.name = name

    def selectable(self):
        return not self.attributes & {"\\noselect", "\\nonexistent"}


class There:
    """A message that lies in the account."""

    __slots__ = ("folder", "uid", "size", "header")

    def __init__(self, folder, uid, size, header):
        self.folder, self.uid, self.size, self.header = folder, uid, size, header


class Account:
    """A session."""

    def __init__(self, address, user, password, ca=None, no_tls=False, oauth=False):
        self.address, self.user = address, user
        self._password, self._ca, self._no_tls, self._oauth = password, ca, no_tls, oauth
        self._imap = None
        self._examined = None
        # Whether it has been logged in to.
        self.reached = False

    def connect(self):
        """Logs in; an older connection is forgotten."""
        self.drop()
        try:
            self._imap = self._open()
            # imaplib sends a literal and the line's end apart: otherwise the second one waits, 40 ms a message.
            self._imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._login()
        except ssl.SSLCertVerificationError as why:
            self.drop()
            raise cli.Stop(
                f"{self.address}: its certificate cannot be trusted: {why.verify_message}; "
                "use the name that the certificate is for, or name the authority that signed it with --ca FILE"
            ) from None
        except (OSError, ssl.SSLError, imaplib.IMAP4.error, UnicodeError) as why:
            # (UnicodeError: the name cannot be that of a host.)
            self.drop()
            raise Gone(f"{self.address}: {self._words(why)}") from None
        self._examined = None
        self.reached = True

    def _open(self):
        context = ssl.create_default_context(cafile=self._ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        imap = self._greeted(context)
        if self._no_tls or self.address.implicit:
            return imap
        self._imap = imap
        if "STARTTLS" not in imap.capabilities:
            raise cli.Stop(f"{self.address}: the server offers no STARTTLS, so the password would be readable on the way; try imaps://")
        imap.starttls(ssl_context=context)
        return imap

    def _greeted(self, context):
        """The server has said its first word, and what it can do."""
        host, port = self.address.host, self.address.port
        try:
            if self.address.implicit:
                return _Secure(host, port, ssl_context=context, timeout=GREETING)
            return (_Loopback if self._no_tls else _Clear)(host, port, timeout=GREETING)
        except TimeoutError:
            raise Gone(f"{self.address}: nothing comes from there within {GREETING} s; {self._other_way()}") from None
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError as why:
            if why.reason not in NO_TLS:
                raise
            raise Gone(f"{self.address}: no TLS is spoken there from the start; {self._other_way()}") from None

    def _other_way(self):
        """What to try where a port is of another kind than was thought."""
        if self.address.implicit:
            return "where it begins by STARTTLS, write imap://; else, is it the right port?"
        without = " and leave --no-tls out" if self._no_tls else ""
        return f"where TLS is spoken from the start, write imaps://{without}; else, is it the right port?"

    def _login(self):
        imap = self._imap
        offered = imap.capabilities
        user, password = self.user.encode(), self._password
        try:
            if self._oauth:
                first = b"user=" + user + b"\1auth=Bearer " + password + b"\1\1"
                # A challenge to it is the server's reason; an empty answer ends the exchange.
                answers = iter([first])
                imap.authenticate("XOAUTH2", lambda _: next(answers, b""))
            elif "AUTH=PLAIN" in offered:
                imap.authenticate("PLAIN", lambda _: b"\0" + user + b"\0" + password)
            elif "LOGINDISABLED" not in offered:
                self._command("LOGIN", _quoted(user), _quoted(password))
                imap.state = "AUTH"
            else:
                raise cli.Stop(f"{self.address}: the server takes neither PLAIN nor LOGIN; it offers {' '.join(sorted(offered))}")
        except imaplib.IMAP4.abort:
            raise
        except (imaplib.IMAP4.error, Refused) as why:
            raise cli.Stop(f"{self.address}: the server refuses the login of {cli.printable(self.user)}: {self._words(why)}") from None
        # imaplib takes a folder that is open for reading for one that became so behind its back.
        imap.is_readonly = True
        # What it can do may be another thing after the login.
        kind, data = imap.capability()
        if kind == "OK" and data and data[-1]:
            imap.capabilities = tuple(data[-1].decode("ascii", "replace").upper().split())

    def can(self, capability):
        return capability in self._imap.capabilities

    def limit(self):
        """The largest message that the server takes (RFC 7889), octets; none where it does not say."""
        found = [word for word in self._imap.capabilities if word.startswith("APPENDLIMIT=")]
        return int(found[0][12:]) if found and found[0][12:].isdigit() else None

    def drop(self):
        """Closes the connection without a word."""
        if self._imap is not None:
            try:
                self._imap.shutdown()
            except OSError:
                pass
            self._imap = None

    def logout(self):
        if self._imap is not None:
            try:
                self._imap.logout()
            except (OSError, imaplib.IMAP4.error):
                pass
            self._imap = None

    def _words(self, why):
        """What went wrong, in the server's or the system's words, which may repeat what was typed."""
        text = getattr(why, "strerror", None) or str(why)
        if text == "None":
            # imaplib's own word for it.
            text = "there is no greeting as an IMAP server's; is it the right port?"
        found = re.fullmatch(r"b(['\"])(.*)\1", text, re.S)
        text = found[2] if found else text
        secret = self._password.decode("utf-8", "replace")
        if secret:
            text = text.replace(secret, "***")
        return cli.printable(text.strip()) or type(why).__name__

    def _command(self, name, *args):
        """A command; its untagged answers, as imaplib gives them.

        imaplib has no public way to send a command whose arguments are bytes, or a literal as it is.
        """
        try:
            kind, data = self._imap._simple_command(name, *args)
        except imaplib.IMAP4.abort as why:
            raise Gone(self._words(why)) from None
        except imaplib.IMAP4.error as why:
            # BAD
            raise Refused(self._words(why)) from None
        except OSError as why:
            raise Gone(self._words(why)) from None
        if kind != "OK":
            raise Refused(self._words(data[-1] if data and data[-1] else kind))
        return data

    def _untagged(self, name):
        return self._imap._untagged_response("OK", [None], name)[1]

    def prefix(self):
        """Of the names of the user's own folders: `INBOX.` or nothing."""
        if not self.can("NAMESPACE"):
            return ""
        self._command("NAMESPACE")
        found = re.match(rb'\(\(\s*"((?:[^"\\]|\\.)*)"', (self._untagged("NAMESPACE") or [b""])[-1] or b"")
        return _unquoted(found[1]) if found else ""

    def folders(self):
        """All folders."""
        more = ("RETURN", "(SPECIAL-USE)") if self.can("SPECIAL-USE") and self.can("LIST-EXTENDED") else ()
        self._command("LIST", '""', "*", *more)
        found = []
        for entry in self._untagged("LIST"):
            if entry is None:
                continue
            text, literal = entry if isinstance(entry, tuple) else (entry, None)
            parts = re.match(rb'\(([^)]*)\)\s+(NIL|"(?:[^"\\]|\\.)*")\s+(.*)', text, re.S)
            if not parts:
                continue
            separator = None if parts[2] == b"NIL" else _unquoted(parts[2][1:-1])
            name = literal if literal is not None else parts[3].strip()
            if literal is None and name.startswith(b'"'):
                name = name[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")
            attributes = {word.lower() for word in parts[1].decode("ascii", "replace").split()}
            found.append(Folder(attributes, separator, name.decode("latin-1")))
        return found

    def examine(self, name):
        """Opens a folder for reading; the number of its messages."""
        self._examined = None
        # Numbers of another folder.
        self._imap.untagged_responses = {}
        self._command("EXAMINE", _quoted(name))
        exists = self._untagged("EXISTS")
        self._imap.state = "SELECTED"
        self._examined = name
        return int(exists[-1] or 0)

    def messages(self, name, told=lambda done, all: None):
        """What lies in a folder: each with the header fields that tell it from others."""
        count = self.examine(name)
        # By number: nothing is renumbered while only FETCH is said (RFC 3501, section 7.4.1).
        for first in range(1, count + 1, BATCH):
            last = min(first + BATCH - 1, count)
            told(first - 1, count)
            data = self._fetch("FETCH", f"{first}:{last}", f"(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS ({' '.join(FIELDS)})])")
            for text, header in data:
                uid, size = re.search(rb"\bUID (\d+)", text), re.search(rb"RFC822\.SIZE (\d+)", text)
                if uid:
                    yield There(name, int(uid[1]), int(size[1]) if size else None, header)

    def content(self, there):
        """The whole message; none where it is gone."""
        if self._examined != there.folder:
            self.examine(there.folder)
        for text, content in self._fetch("UID", "FETCH", str(there.uid), "(UID BODY.PEEK[])"):
            if re.search(rb"\bUID %d\b" % there.uid, text):
                return content
        return None

    def _fetch(self, *command):
        """The answers to FETCH: what stands around the one literal, and the literal."""
        self._command(*command)
        found = []
        for entry in self._untagged("FETCH"):
            if isinstance(entry, tuple):
                found.append((entry[0], entry[1]))
            elif entry is None:
                continue
            elif re.match(rb"\d+ \(.*BODY\[", entry, re.S):
                # A header without any of the fields need not come as a literal.
                found.append((entry, b""))
            elif found and not re.match(rb"\d+ \(", entry):
                # What follows the literal.
                text, literal = found[-1]
                found[-1] = (text + b" " + entry, literal)
        return found

    def create(self, name):
        """Makes a folder, and shows it to mail programs, which list subscribed ones only."""
        self._examined = None
        self._command("CREATE", _quoted(name))
        try:
            self._command("SUBSCRIBE", _quoted(name))
        except Refused:
            pass

    def append(self, name, flags, date, message):
        """Adds these very bytes."""
        # Not imaplib's append: that one changes line ends.
        self._imap.literal = message
        self._command("APPEND", _quoted(name), f"({' '.join(flags)})", internal_date(date))


def flags_of(letters):
    """The IMAP flags for a Maildir's letters. Not \\Deleted: the next program to tidy up would take the message away again."""
    return [FLAGS[letter] for letter in sorted(letters) if letter in FLAGS]


def internal_date(seconds):
    """A date-time (RFC 3501, section 9), whatever the language."""
    at = time.gmtime(max(seconds, 0))
    return f'"{at.tm_mday:2}-{MONTHS[at.tm_mon - 1]}-{at.tm_year:04} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"'


def _quoted(text):
    data = text.encode("latin-1") if isinstance(text, str) else text
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _unquoted(data):
    return re.sub(rb"\\(.)", rb"\1", data).decode("latin-1")


class Names:
    """What the archive's folders are called in this account."""

    def __init__(self, account, sent_folder):
        self.prefix = account.prefix()
        self.there = {folder.name: folder for folder in account.folders()}
        inbox = next((folder for name, folder in self.there.items() if name.upper() == "INBOX"), None)
        any_folder = inbox or next(iter(self.there.values()), None)
        # A server without levels says NIL.
        self.separator = (any_folder.separator if any_folder else None) or (self.prefix[-1:] or "/")
        sent = next((name for name, folder in self.there.items() if "\\sent" in folder.attributes), None)
        self.special = {owners.folder_dir(sent_folder): sent} if sent and owners.folder_dir(sent_folder) else {}

    def of(self, folder):
        """The account's name for an archive's folder (`.Work.Reports`), in modified UTF-7."""
        if folder in self.special:
            return self.special[folder]
        levels = [self._level(level) for level in owners.folder_levels(folder)]
        if not levels:
            return "INBOX"
        name = self.separator.join(levels)
        return name if name.upper().startswith(self.prefix.upper()) else self.prefix + name

    def instead(self, name):
        """What a folder may be called where the server makes none of this name: it lets nothing lie below INBOX, or keeps names for itself."""
        below = "INBOX" + self.separator
        if name.upper().startswith(below) and not self.prefix:
            yield name[len(below) :]
        levels = [level + "_" if level in ("cur", "new", "tmp") else level for level in name.split(self.separator)]
        if self.separator.join(levels) != name:
            yield self.separator.join(levels)

    def typed(self, name):
        """The account's name for what a person typed: levels divided by `/`, as text."""
        levels = [self._level(owners.encode_utf7(level).encode("ascii")) for level in name.split("/") if level]
        if not levels or (len(levels) == 1 and levels[0].upper() == "INBOX"):
            return "INBOX"
        name = self.separator.join(levels)
        return name if name in self.there or name.upper().startswith(self.prefix.upper()) else self.prefix + name

    def _level(self, level):
        """One level in modified UTF-7, without what would divide it, or what no server takes."""
        try:
            text = level.decode("ascii")
        except UnicodeDecodeError:
            text = owners.encode_utf7(level.decode("utf-8", "replace"))
        text = re.sub(r"[\x00-\x1f\x7f]", "_", text).replace(self.separator, "_")
        return text or "_"

    def exists(self, name):
        folder = self.there.get(name) or (name.upper() == "INBOX" and next((f for n, f in self.there.items() if n.upper() == "INBOX"), None))
        return bool(folder) and folder.selectable()

    def title(self, name):
        """For people."""
        return cli.printable(owners.decode_utf7(name.encode("latin-1")))

    def elsewhere(self):
        """The folders in which a message counts as being in the account; what is thrown away does not, and \\All holds all others' once more."""
        out = {"\\trash", "\\junk", "\\all", "\\drafts"}
        return [name for name, folder in self.there.items() if folder.selectable() and not folder.attributes & out]
