#!/usr/bin/python3
"""A mail proxy as many a one is written in Python, and as MailStore's forerunner was: two threads a session, line by line, each message that
passes saved in its owner's Maildir. Only for scripts/bench to measure: it promises nothing.

proxy.py SPOOL CHAIN KEY AUTHORITY KIND:plain|tls:PORT:UPSTREAM_PORT...
"""

import base64
import itertools
import os
import re
import socket
import ssl
import sys
import threading

counter = itertools.count()


class Session:
    def __init__(self, kind, client, server):
        self.kind, self.client, self.server = kind, client, server
        self.owner = "unknown"
        # Of each command that the server has not answered yet: whether its answer is a message.
        self.asked = []

    def save(self, lines):
        folder = os.path.join(spool, self.owner)
        for sub in ("tmp", "new", "cur"):
            os.makedirs(os.path.join(folder, sub), exist_ok=True)
        name = f"{os.getpid()}.{next(counter)}"
        with open(os.path.join(folder, "tmp", name), "wb") as file:
            file.writelines(lines)
        os.rename(os.path.join(folder, "tmp", name), os.path.join(folder, "new", name))

    def from_client(self):
        lines = self.client.makefile("rb", 65536)
        for line in lines:
            word = line[:4].upper()
            if self.kind == "smtp":
                if word == b"AUTH":
                    self.owner = base64.b64decode(line.split()[2]).split(b"\0")[1].decode()
                self.server.sendall(line)
                if word == b"DATA":
                    self.save(self.dotted(lines, self.server))
                continue
            if self.kind == "pop3":
                if word == b"USER":
                    self.owner = line.split()[1].decode()
                self.asked.append(word == b"RETR")
            elif line.split()[1].upper() == b"LOGIN":
                self.owner = line.split()[2].decode()
            self.server.sendall(line)

    def from_server(self):
        lines = self.server.makefile("rb", 65536)
        if self.kind == "pop3":
            self.client.sendall(next(lines))
        for line in lines:
            self.client.sendall(line)
            if self.kind == "pop3" and self.asked.pop(0) and line.startswith(b"+OK"):
                self.save(self.dotted(lines, self.client))
            elif self.kind == "imap":
                literal = re.search(rb"BODY\[\] \{(\d+)\}\r\n$", line)
                if literal:
                    self.save(self.literal(lines, int(literal.group(1))))

    def dotted(self, lines, to):
        message = []
        for line in lines:
            to.sendall(line)
            if line == b".\r\n":
                break
            message.append(line[1:] if line.startswith(b".") else line)
        return message

    def literal(self, lines, left):
        message = []
        while left:
            line = lines.readline(left)
            self.client.sendall(line)
            message.append(line)
            left -= len(line)
        return message


def run(pump, session):
    try:
        pump()
    except (OSError, ValueError):
        pass
    for side in (session.client, session.server):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(kind, tls, client, port):
    server = socket.create_connection(("127.0.0.1", port))
    for side in (client, server):
        side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        client = accepting.wrap_socket(client, server_side=True)
        server = connecting.wrap_socket(server, server_hostname="localhost")
    session = Session(kind, client, server)
    threading.Thread(target=run, args=(session.from_server, session), daemon=True).start()
    run(session.from_client, session)


def listen(kind, tls, port, upstream):
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(kind, tls, client, upstream), daemon=True).start()


spool, chain, key, authority = sys.argv[1:5]
accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
accepting.load_cert_chain(chain, key)
connecting = ssl.create_default_context(cafile=authority)
threading.stack_size(256 * 1024)
for word in sys.argv[5:]:
    kind, tls, port, upstream = word.split(":")
    threading.Thread(target=listen, args=(kind, tls == "tls", int(port), int(upstream)), daemon=True).start()
threading.Event().wait()
