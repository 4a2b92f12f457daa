# Downloads from an inbox in chunks with imaplib, and prints what it got.
# Arguments behind the connection's: `uid` or `seq`, a message's number, a section with its brackets, the size of a chunk.
import hashlib, imaplib, ssl, sys

host, port, tls, ca, user, secret, *downloads = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if tls == "implicit":
    imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
else:
    imap = imaplib.IMAP4(host, int(port), timeout=30)
if tls == "starttls":
    imap.starttls(context)
imap.login(user, secret)
print(imap.select("INBOX"))
print(imap.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE ENVELOPE)"))
for kind, number, section, size in zip(*[iter(downloads)] * 4):
    got = b""
    while True:
        item = "(%s<%d.%s>)" % (section, len(got), size)
        typ, data = imap.uid("FETCH", number, item) if kind == "uid" else imap.fetch(number, item)
        assert typ == "OK", data
        chunk = data[0][1] if isinstance(data[0], tuple) else b""
        got += chunk
        if len(chunk) < int(size):
            break
    print(kind, number, section, size, len(got), hashlib.sha256(got).hexdigest())
print(imap.uid("FETCH", "1:*", "(FLAGS)"))
print(imap.close(), imap.logout()[0])
