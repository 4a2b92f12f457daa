# Reads (and fills) an IMAP mailbox with imaplib, and prints what it got.
import base64, hashlib, hmac, imaplib, re, ssl, sys

host, port, tls, ca, mechanism, user, secret = sys.argv[1:8]
imaplib._MAXLINE = 1 << 24
context = ssl.create_default_context(cafile=ca)
if tls == "implicit":
    imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
else:
    imap = imaplib.IMAP4(host, int(port), timeout=30)
if tls == "starttls":
    imap.starttls(context)

def scram(mechanism):
    digest = "sha256" if mechanism.endswith("256") else "sha1"
    bare = "n=%s,r=fyko+d2lbbFgONRv9qkxdawL" % user
    steps = []
    def answer(challenge):
        steps.append(challenge)
        if len(steps) == 1:
            return b"n,," + bare.encode()
        if len(steps) == 3:
            return b""
        first = challenge.decode()
        parts = dict(p.split("=", 1) for p in first.split(","))
        salted = hashlib.pbkdf2_hmac(digest, secret.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        final = "c=biws,r=" + parts["r"]
        signed = ",".join([bare, first, final]).encode()
        key = hmac.digest(salted, b"Client Key", digest)
        signature = hmac.digest(hashlib.new(digest, key).digest(), signed, digest)
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        return (final + ",p=" + proof).encode()
    return answer

if mechanism == "login":
    imap.login(user, secret)
elif mechanism == "cram-md5":
    imap.login_cram_md5(user, secret)
elif mechanism == "plain":
    imap.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (user, secret)).encode())
elif mechanism == "auth-login":
    answers = iter([user, secret])
    imap.authenticate("LOGIN", lambda _: next(answers).encode())
elif mechanism == "xoauth2":
    imap.authenticate("XOAUTH2", lambda _: ("user=%s\x01auth=Bearer %s\x01\x01" % (user, secret)).encode())
elif mechanism == "oauthbearer":
    imap.authenticate("OAUTHBEARER", lambda _: ("n,a=%s,\x01host=localhost\x01port=143\x01auth=Bearer %s\x01\x01" % (user, secret)).encode())
elif mechanism.startswith("scram-"):
    imap.authenticate(mechanism.upper(), scram(mechanism))

def digest(item):
    if isinstance(item, tuple):
        return [item[0], len(item[1]), hashlib.sha256(item[1]).hexdigest()]
    return item

for action in sys.argv[8:]:
    verb, _, rest = action.partition(" ")
    if verb == "select":
        typ, data = imap.select(rest)
    elif verb == "fetch":
        typ, data = imap.fetch("1:*", rest)
    elif verb == "uidfetch":
        typ, data = imap.uid("FETCH", "1:*", rest)
    elif verb == "each":
        typ, numbers = imap.search(None, "ALL")
        data = [digest(item) for n in numbers[0].split() for item in imap.fetch(n, rest)[1]]
    elif verb == "append":
        folder, _, text = rest.partition(" ")
        typ, data = imap.append(folder, r"(\Seen)", None, text.encode().decode("unicode_escape").encode("latin-1"))
    elif verb == "move":
        typ, data = imap.uid("COPY", "1:*", rest)
    else:
        typ, data = getattr(imap, verb)(*rest.split())
    print(verb, typ, [digest(item) for item in data])
print(imap.logout()[0])
