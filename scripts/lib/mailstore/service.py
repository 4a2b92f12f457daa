"""The systemd unit of an installed MailStore: what it lets the service see and write, and the drop-in for a spool elsewhere."""

import hashlib
import os
import subprocess
import sys

from . import cli

STATE = "/var/lib/mailstore"
DROP_IN = "/etc/systemd/system/mailstore.service.d/spool.conf"
UNITS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# ProtectHome= and PrivateTmp= hide these.
HOMES = ("/home", "/root", "/run/user")
TMP = ("/tmp", "/var/tmp")
MARK = "# Made by mailstore-check --drop-in. SHA-256 of what follows: "


def below(path, folders):
    """Whether a path is one of these folders, or lies in one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def active():
    """Whether systemd says that the service runs."""
    return systemctl("is-active", "--quiet", "mailstore.service")


def systemctl(*words):
    if not os.path.isdir("/run/systemd/system"):
        return False
    return subprocess.run(["systemctl", *words], check=False).returncode == 0


def written(config):
    """The folders that the service writes in, sorted, none below another."""
    folders = [os.path.realpath(config.spool)]
    if config.learn_logins:
        folders.append(os.path.dirname(os.path.realpath(config.learn_logins)))
    return [one for one in sorted(set(folders)) if not below(one, [other for other in folders if other != one])]


def unseen(config):
    """A sentence for each file in the configuration that the unit hides from the service."""
    if unit() is None:
        return
    for _, section, keys in config.proxies():
        for key in ("certificate", "private_key", "upstream_ca"):
            path = keys.get(key)
            if path is None:
                continue
            path = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(config.path)), path))
            if below(path, HOMES + TMP):
                yield (
                    f"{config.path}: [{section}] {key}: {cli.printable(path)} is hidden from the service (ProtectHome=, PrivateTmp=); "
                    "put a copy into /etc/mailstore"
                )


def unit():
    """Where the unit lies; none where it is not installed."""
    return next((folder for folder in UNITS if os.path.exists(os.path.join(folder, "mailstore.service"))), None)


def fits(config, path, user, change):
    """Whether the service of this user may write where it has to; with `change` the drop-in is made so. What is wrong is said."""
    if unit() is None:
        return True
    outside = [folder for folder in written(config) if not below(folder, [STATE])]
    hidden = [folder for folder in outside if below(folder, TMP)]
    for folder in hidden:
        complain(f"{path}: {cli.printable(folder)} is hidden from the service (PrivateTmp=); name a place that is not below /tmp or /var/tmp")
    if hidden:
        return False
    # A link in a folder of the service's user may have led here: what it says must not become lines of a unit.
    for folder in outside:
        if not folder.isprintable():
            complain(f"{path}: {cli.printable(folder)} has characters in its name that cannot be in a unit; take another name")
            return False
    there = True
    for folder in outside:
        if not os.path.isdir(folder):
            complain(
                f"{path}: {cli.printable(folder)} is not there, and the service cannot make it; with its disk mounted: "
                f"install -d -m 700 -o {user} -g {user} {cli.printable(folder)}"
            )
            there = False
    wanted = drop_in(outside) if outside else None
    found = read(DROP_IN)
    if found == wanted:
        return there
    if found is not None and not ours(found):
        if wanted is not None and all(quoted(folder) in found for folder in outside):
            return there
        complain(f"{DROP_IN}: was written by hand, and does not name {', '.join(outside) or 'the spool in ' + STATE}; see to it yourself")
        return False
    if not change:
        what = f"does not let the service write in {', '.join(map(cli.printable, outside))}" if outside else "names another spool"
        complain(f"the unit {what}: mailstore-check --drop-in (as root) puts that right")
        return False
    if wanted is None:
        os.unlink(DROP_IN)
        print(f"removed {DROP_IN}")
    else:
        os.makedirs(os.path.dirname(DROP_IN), mode=0o755, exist_ok=True)
        with open(DROP_IN + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(wanted)
        os.rename(DROP_IN + ".new", DROP_IN)
        print(f"made {DROP_IN}: the service may write in {', '.join(map(cli.printable, outside))}")
    systemctl("daemon-reload")
    if active():
        print("it takes effect with: systemctl restart mailstore")
    return there


def drop_in(folders):
    """The text of the drop-in for these folders."""
    names = [quoted(folder) for folder in folders]
    lines = ["[Unit]", *(f"RequiresMountsFor={name}" for name in names), "", "[Service]"]
    if any(below(folder, HOMES) for folder in folders):
        # A folder below one that is hidden comes back only so.
        lines.append("ProtectHome=tmpfs")
    for folder, name in zip(folders, names):
        lines.append(f"{'BindPaths' if below(folder, HOMES) else 'ReadWritePaths'}={name}")
    text = "\n".join(lines) + "\n"
    return f"{MARK}{digest(text)}\n{text}"


def quoted(path):
    """A path as systemd reads it in a list of paths."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if any(c in text for c in " \t'\"\\:") else text


def ours(text):
    """Whether it is as a run of ours left it."""
    first, _, rest = text.partition("\n")
    return first == MARK + digest(rest)


def digest(text):
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None


def complain(sentence):
    print(sentence, file=sys.stderr)
