"""Looks at messages, by several processes: each file's size and SHA-256 against its name. scripts/lib/mailstore/verify.py says which.

A batch is (owner, folder below the spool, its path, `new` or `cur`, names, uid or none); what comes back is what `examine` gives. Batches are sent to
processes that were forked before anything else was begun; they end with their parent, however that ends.
"""

import contextlib
import errno
import hashlib
import multiprocessing
import multiprocessing.connection
import os
import pwd
import re
import signal
import stat

from . import cli, spool as spools

# Octets that are read at once.
CHUNK = 1 << 20

# A larger file is no message, octets. One with nothing in it but a hole takes no room, and a night to read.
MESSAGE_LEN_MAX = 64 << 30

# What ends a script.
ENDS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

# Any Maildir program's name for a message: seconds, what makes it unique, fields; and flags behind `:2,`.
NAME = re.compile(r"[0-9]+[._][^:/\x00-\x1f\x7f]+(:2,[A-Za-z]*(,[^:/\x00-\x1f\x7f]*)?)?\Z")


def spread(batches, jobs):
    """`examine` of each batch, in any order, by so many processes. Takes no more batches than are being worked on."""
    if jobs == 1:
        yield from map(examine, batches)
        return
    fork = multiprocessing.get_context("fork")
    ours, processes = [], []
    try:
        for _ in range(jobs):
            here, there = fork.Pipe()
            ours.append(here)
            process = fork.Process(target=work, args=(there, list(ours)), daemon=True)
            # A signal that comes before it has its own handlers would be dealt with as if it were us.
            with blocked(ENDS):
                process.start()
            processes.append(process)
            there.close()
        batches = iter(batches)
        waiting = dict.fromkeys(ours, 0)

        def feed(connection):
            batch = next(batches, None)
            if batch is not None:
                with blocked({signal.SIGPIPE}):
                    send(connection, batch)
                waiting[connection] += 1

        # Two for each: while one is worked on, the next waits in the pipe.
        for connection in ours * 2:
            feed(connection)
        while any(waiting.values()):
            for connection in multiprocessing.connection.wait([one for one in ours if waiting[one]]):
                result = connection.recv()
                waiting[connection] -= 1
                feed(connection)
                yield result
    except (EOFError, ConnectionError):
        raise cli.Stop("a process that helps was ended from outside (for want of memory?): not everything was looked at") from None
    finally:
        for connection in ours:
            connection.close()
        for process in processes:
            process.terminate()
            process.join()


@contextlib.contextmanager
def blocked(signals):
    """These signals wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def send(connection, batch):
    """Sends; that nobody is there any more is an error, not the end of us as it is where nobody reads our output."""
    try:
        connection.send(batch)
    except BrokenPipeError:
        signal.sigtimedwait({signal.SIGPIPE}, 0)
        raise


def work(connection, others):
    """One process's life: batches come in, results go out, until the other end is closed."""
    for one in ENDS:
        # Ctrl-C is for all of the group; the parent ends us.
        signal.signal(one, signal.SIG_IGN if one == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    # A parent that was killed has closed its end, which is not seen before a message is read to its end.
    parent = os.getppid()
    signal.signal(signal.SIGALRM, lambda *_: os.getppid() == parent or os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    # Else the end of the parent would not be seen.
    for other in others:
        other.close()
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(examine(connection.recv()))


def examine(batch):
    """Looks at the messages of a batch."""
    owner, below, path, sub, names, uid = batch
    findings, missing = [], []
    messages = octets = unhashed = 0
    try:
        place = os.open(os.path.join(path, sub), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return owner, below, path, sub, 0, 0, 0, [], names
    except OSError as why:
        return owner, below, path, sub, 0, 0, 0, [("unreadable", name, why.strerror) for name in names], []
    try:
        for name in names:
            try:
                # Not through a link, and without waiting where it is a pipe by now.
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
            except FileNotFoundError:
                missing.append(name)
                continue
            except OSError as why:
                messages += 1
                link = why.errno == errno.ELOOP
                findings.append(("strange", name, "is a symbolic link") if link else ("unreadable", name, why.strerror))
                continue
            try:
                status = os.fstat(file)
                messages += 1
                if uid is not None and (status.st_mode != stat.S_IFREG | 0o600 or status.st_uid != uid):
                    findings += [("permissions", name, reason) for reason in wrong_rights(status, 0o600, uid)]
                if status.st_size > MESSAGE_LEN_MAX:
                    findings.append(("strange", name, f"has {status.st_size} octets: no message is so large, and it was not read"))
                    continue
                size, digest = read(file, status.st_size)
            except OSError as why:
                findings.append(("unreadable", name, why.strerror))
                continue
            finally:
                os.close(file)
            octets += size
            unhashed += ",H=" not in name
            findings += [(kind, name, reason) for kind, reason in judge(name, size, digest)]
    finally:
        os.close(place)
    return owner, below, path, sub, messages, octets, unhashed, findings, missing


def read(file, expected):
    """Octets and SHA-256 of an open file that has about so many."""
    sha, size = hashlib.sha256(), 0
    step = min(expected + 1, CHUNK)
    while True:
        data = os.read(file, step)
        sha.update(data)
        size += len(data)
        # Less than asked for is the end, but for some network file systems.
        if not data or (len(data) < step and size >= expected):
            return size, sha.hexdigest()


def judge(name, size, digest):
    """What the name says against what the file is."""
    if not NAME.match(name):
        yield "misnamed", "is no name of a message: <seconds>.<unique>.<host>,S=<octets>,H=<SHA-256>, and flags behind :2,"
    said_hash, said_size = spools.HASH.search(name), spools.SIZE.search(name)
    if name.count(",S=") > 1 or (",S=" in name and not said_size):
        yield "misnamed", "what stands behind S= is no number, or it stands there twice"
        said_size = None
    if name.count(",H=") > 1 or (",H=" in name and not said_hash):
        yield "misnamed", f"what stands behind H= is no SHA-256 (64 hex digits in lower case), or it stands there twice; the file's is {digest}"
        said_hash = None
    octets = int(said_size[1][:20]) if said_size else size
    if said_hash and said_hash[1] == digest:
        if octets != size:
            yield "misnamed", f"S= says {octets} octets; the file is whole (its SHA-256 is that of its name) and has {size}"
    elif octets != size:
        yield ("truncated" if size < octets else "grown"), f"has {size} octets, should have {octets}"
    elif said_hash:
        yield "damaged", f"its SHA-256 is {digest}, not that of its name"


def wrong_rights(status, right, uid):
    if stat.S_IMODE(status.st_mode) != right:
        yield f"mode {mode(status)}, should be {right:04o}"
    if status.st_uid != uid:
        yield f"belongs to {user(status.st_uid)}, the spool to {user(uid)}"


def mode(status):
    return f"{stat.S_IMODE(status.st_mode):04o}"


def user(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
