"""A Dovecot over the spool: its configuration, for 2.3 and for 2.4.

Everything that both have in common is decided in `Archive`; `render` only knows the two languages.
"""

import os
import re

from . import cli, owners

VERSIONS = ("2.3", "2.4")

# What a user's name may hold. Not `/` and `%`, which stand for themselves in no folder of the spool; not `:`, at which Dovecot divides
# the place of his mail and the lines of its password files. Each octet counts by itself: the letters after ASCII, of which nobody has
# all in his name, are the octets of all letters in UTF-8.
NAME_ASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@+&'!#$*,;=?^`{|}~()<>[]"
NAME_OTHER = (
    "".join(map(chr, range(0xC0, 0x100)))
    + "ªāōơǎșɐʁˀ\u0301ͱαωБяґәԱաևאبمچیܐݐހߊ"
    + "กạⱥあ中国日王言高가나아하ﬁ😀"
)
NAME_OCTETS = frozenset((NAME_ASCII + NAME_OTHER).encode())

# What a path may hold that stands in Dovecot's configuration: blanks part words there, a colon the places of mail, and so on.
PATH = re.compile(r"[^\s:\"'#$%{}<|;\\]+\Z")


class Archive:
    """What the configuration is to say."""

    spool = ""
    template = None
    # Where Dovecot keeps its lists: a folder outside of the spool.
    indexes = ""
    # Names.
    user = group = ""
    uid = 0
    certificate = private_key = ""
    # Addresses, as Dovecot's `listen` takes them; none: all.
    listen = ""
    # 0: not at all.
    port = 1993
    starttls_port = 1143
    # Mailbox as people name it, levels with `.`; none.
    sent = ""
    default_domain = "localhost"
    # Password files: the one by hand, the learnt one; none.
    users = learnt = ""
    # The real server: host, port, TLS as in mailstore.ini, the authorities' file or none.
    origin = None
    writable = False
    # 2.3's file of rights.
    acl = ""
    # What runs at each login.
    login = ""


def render(archive, version):
    """The whole configuration, as text."""
    return "\n".join(Writer(archive, version).lines()) + "\n"


def served(template, owner):
    """Whether Dovecot finds this owner's Maildir by his name."""
    user, _, domain = owner.partition(b"@")
    if not set(owner) <= NAME_OCTETS:
        return False
    values = {"u": owner, "n": user, "d": domain}
    parts = (
        b"".join(p.encode() if isinstance(p, str) else values[p[0]] for p in pieces) for pieces in template.components
    )
    return b"/".join(parts) == template.path(owner).encode("utf-8", "surrogateescape")


def unknown(owner, template=None):
    """Why Dovecot cannot let this owner in; none where it can. Without a template his name alone is looked at."""
    if owner.startswith(b"#") or not set(owner) <= NAME_OCTETS or not os.fsdecode(owner).isprintable():
        return "Dovecot lets nobody of such a name in: no `:`, `/`, `%`, quote, blank or control character, and no # in front"
    if template is not None and not served(template, owner):
        return f"Dovecot does not find the folder of such a name in the spool ({cli.printable(template.path(owner))})"
    return None


class Writer:
    def __init__(self, archive, version):
        self.archive = archive
        self.new = version == "2.4"

    def lines(self):
        a = self.archive
        yield f"# Dovecot {'2.4' if self.new else '2.3'} over MailStore's spool: the whole configuration, by scripts/dovecot-archive."
        yield "# docs/dovecot.md says more. Make it anew instead of changing it by hand; your own settings may follow at the end."
        yield ""
        if self.new:
            yield "dovecot_config_version = 2.4.0"
            yield "dovecot_storage_version = 2.4.0"
            yield ""
            yield from self.block("protocols", ["imap = yes"])
        else:
            yield "protocols = imap"
        if a.listen:
            yield f"listen = {a.listen}"
        yield ""
        for part in (self.ports, self.tls, self.logins, self.mail, self.rights, self.log, self.at_login):
            yield from part()
            yield ""
        yield "# Your own settings:"

    def block(self, head, inner):
        yield head + " {"
        yield from ("  " + line if line else line for line in inner)
        yield "}"

    def switches(self, name, values):
        """A list of words: `name = a b` in 2.3, a block of `a = yes` in 2.4."""
        if self.new:
            yield from self.block(name, [f"{value} = yes" for value in values])
        else:
            yield f"{name} = {' '.join(values)}"

    def ports(self):
        a = self.archive
        yield "# With TLS from the first octet; and with STARTTLS. Not 993 and 143: MailStore's own IMAP proxy may have those."
        yield from self.block(
            "service imap-login",
            [
                *self.block("inet_listener imaps", [f"port = {a.port}", "ssl = yes"]),
                *self.block("inet_listener imap", [f"port = {a.starttls_port}"]),
            ],
        )

    def tls(self):
        a = self.archive
        yield "# No login without TLS (but from this machine itself). Read again by `doveadm reload`, after a renewal too."
        yield "ssl = required"
        yield "ssl_min_protocol = TLSv1.2"
        if self.new:
            yield f"ssl_server_cert_file = {a.certificate}"
            yield f"ssl_server_key_file = {a.private_key}"
        else:
            yield f"ssl_cert = <{a.certificate}"
            yield f"ssl_key = <{a.private_key}"

    def logins(self):
        a = self.archive
        yield "# Names are compared in lower case, and get a domain where they have none, as MailStore does it."
        yield from self.switches("auth_mechanisms", ["plain", "login"])
        if self.new:
            yield "auth_username_format = %{user | lower}"
            yield f"auth_default_domain = {a.default_domain}"
        else:
            yield "auth_username_format = %Lu"
            yield f"auth_default_realm = {a.default_domain}"
        yield "# Any letter, but none that would lead out of the owner's folder."
        yield f'auth_username_chars = "{NAME_ASCII}{NAME_OTHER}"'
        for name, about, file in (
            ("by-hand", "Who may read: lines that scripts/archive-user writes.", a.users),
            ("learnt", "Who may read: logins that the real server accepted, as MailStore's learn_logins notes them.", a.learnt),
        ):
            if file:
                yield f"# {about}"
                yield from self.password_file(name, file)
        if a.origin:
            yield "# Who may read: whom the real server lets in. It is asked last."
            yield from self.password_server()
        if a.users or a.learnt:
            yield "# So that the files need not be everybody's to read."
            yield from self.block("service auth", [f"extra_groups = {a.group}"])

    def password_file(self, name, file):
        if self.new:
            return self.block(
                f"passdb {name}",
                ["driver = passwd-file", "default_password_scheme = SHA512-CRYPT", f"passwd_file_path = {file}"],
            )
        return self.block(
            "passdb", ["driver = passwd-file", f"args = scheme=SHA512-CRYPT username_format=%u {file}"]
        )

    def password_server(self):
        host, port, tls, authority = self.archive.origin
        mode = {"implicit": "imaps", "starttls": "starttls", "none": "no"}[tls]
        # As the user typed it: the server may know him by a name without a domain.
        if self.new:
            inner = [f"imapc_host = {host}", f"imapc_port = {port}", f"imapc_ssl = {mode}", "imapc_user = %{original_user}"]
            if tls != "none":
                inner += [f"ssl_client_ca_file = {authority}", "ssl_client_require_valid_cert = yes"]
            return self.block("passdb imap", inner)
        args = f"host={host} port={port} username=%{{orig_user}}"
        if tls != "none":
            args += f" ssl={mode} ssl_ca_file={authority} allow_invalid_cert=no"
        return self.block("passdb", ["driver = imap", f"args = {args}"])

    def path(self):
        """The Maildirs' template with Dovecot's variables."""
        names = (
            {"u": "%{user}", "n": "%{user | username}", "d": "%{user | domain}"}
            if self.new
            else {"u": "%u", "n": "%n", "d": "%d"}
        )
        # Of what is neither a letter nor harmless there is nothing in it: `check` of the script.
        return "/".join(
            "".join(piece if isinstance(piece, str) else names[piece[0]] for piece in pieces)
            for pieces in self.archive.template.components
        )

    def mail(self):
        a = self.archive
        names = ("%{user | domain}", "%{user | username}") if self.new else ("%d", "%n")
        home = f"{a.indexes}/{names[0]}/{names[1]}"
        yield "# The Maildirs as they are, by the user that MailStore runs as. `auto`: of whom there is none, none is made. Dovecot's own lists lie"
        yield "# elsewhere; they can be made anew at any time, and nobody has to back them up."
        fields = [f"uid = {a.user}", f"gid = {a.group}", f"home = {home}"]
        if self.new:
            fields.append(f"mail_path = {a.spool}/{self.path()}")
            yield from self.block("userdb static", ["allow_all_users = yes", *self.block("fields", fields)])
            yield "mail_driver = auto"
            yield "mailbox_list_layout = maildir++"
            yield "mail_control_path = ~/control"
            yield "mail_index_path = ~/index"
        else:
            fields = [field.replace(" = ", "=") for field in fields]
            fields += [f"mail=auto:{a.spool}/{self.path()}:CONTROL=~/control:INDEX=~/index", "allow_all_users=yes"]
            yield from self.block("userdb", ["driver = static", "args = " + " ".join(fields)])
        yield f"first_valid_uid = {a.uid}"
        yield f"last_valid_uid = {a.uid}"
        yield "# Dovecot is not the only one to write here: it has to look."
        yield "maildir_very_dirty_syncs = no"
        yield "# The size in a file's name (S=) is right."
        yield "maildir_broken_filename_sizes = no"
        yield "# No list of all folders in one file: it saves little here, and is one thing less that sessions beginning at once can trip over."
        yield "mailbox_list_index = no"
        sent = []
        if a.sent:
            sent = self.block(f'mailbox "{a.sent}"', ["auto = no", "special_use = \\Sent"])
        yield from self.block("namespace inbox", ["inbox = yes", "separator = .", *sent])

    def rights(self):
        plugins = ["notify", "mail_log"]
        if self.archive.writable:
            yield "# Users may change and delete everything (--writable); the log tells what they did."
            yield from self.switches("mail_plugins", plugins)
            return
        yield "# Read-only: users may look folders up, read, and mark messages (as read, flagged, answered, with keywords). They may not delete,"
        yield "# add or move messages, nor make, rename or delete folders. They count as strangers (acl_user), so that without this there is no"
        yield "# right at all."
        yield from self.switches("mail_plugins", [*plugins, "acl"])
        if self.new:
            yield "acl_driver = vfile"
            yield "acl_globals_only = yes"
            yield "acl_user = reader"
            yield from self.block("acl anyone", ["rights = lrws"])
            yield "# Else the top of all folders would have no rights of its own."
            yield "acl_defaults_from_inbox = yes"
        else:
            yield from self.block(
                "plugin", [f"acl = vfile:{self.archive.acl}", "acl_globals_only = yes", "acl_user = reader"]
            )

    def log(self):
        events = "delete undelete expunge save copy mailbox_create mailbox_delete mailbox_rename flag_change"
        yield "# The log says who marked, added, copied and removed which message, and (`event:mail_opened`) who read it."
        yield "# `auth_verbose`: why a login failed."
        yield "auth_verbose = yes"
        log = [f"mail_log_events = {events}", "mail_log_fields = uid box msgid size"]
        if self.new:
            yield from log
            yield from self.block("event_exporter read", ["driver = log", "format = tab-text"])
        else:
            yield from self.block("plugin", log)
            yield from self.block("event_exporter read", ["transport = log", "format = tab-text", "format_args = time-rfc3339"])
        include = "metric_exporter_include" if self.new else "exporter_include"
        yield from self.block(
            "metric imap_read",
            ["exporter = read", f"{include} = name fields", "filter = event=mail_opened AND reason_code=imap:fetch_body"],
        )

    def at_login(self):
        yield "# Subscribes each user to the folders that came since his last login: many mail programs show no others."
        yield from self.block("service imap", ["executable = imap imap-postlogin"])
        yield from self.block(
            "service imap-postlogin",
            [
                f"executable = script-login /bin/sh {self.archive.login}",
                f"user = {self.archive.user}",
                *self.block("unix_listener imap-postlogin", []),
            ],
        )


def mailbox_name(folder):
    """What mailstore.ini's sent_folder is called in Dovecot's configuration; none for the inbox, and for what is no plain name there."""
    levels = owners.folder_dir(folder).split(".")[1:]
    name = ".".join(owners.decode_utf7(level.encode()) for level in levels)
    return name if not set(name) & set('*%?"\\') else ""
