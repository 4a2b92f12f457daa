# Reads a POP3 mailbox with poplib, and prints what it got.
import base64, hashlib, hmac, poplib, ssl, sys

host, port, tls, ca, mechanism, user, secret = sys.argv[1:8]
actions = sys.argv[8:]
poplib._MAXLINE = 1 << 24
context = ssl.create_default_context(cafile=ca)
if tls == "implicit":
    pop = poplib.POP3_SSL(host, int(port), context=context, timeout=30)
else:
    pop = poplib.POP3(host, int(port), timeout=30)
if tls == "starttls":
    pop.stls(context)

def scram(exchange, digest):
    nonce = "fyko+d2lbbFgONRv9qkxdawL"
    bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)
    first = exchange(("n,," + bare).encode()).decode()
    parts = dict(p.split("=", 1) for p in first.split(","))
    salted = hashlib.pbkdf2_hmac(digest, secret.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    final = "c=biws,r=" + parts["r"]
    signed = ",".join([bare, first, final]).encode()
    key = hmac.digest(salted, b"Client Key", digest)
    signature = hmac.digest(hashlib.new(digest, key).digest(), signed, digest)
    proof = bytes(a ^ b for a, b in zip(key, signature))
    exchange((final + ",p=" + base64.b64encode(proof).decode()).encode())

if mechanism == "user":
    print(pop.user(user))
    print(pop.pass_(secret))
elif mechanism == "apop":
    print(pop.apop(user, secret))
elif mechanism.startswith("scram-"):
    def exchange(text):
        answer = pop._shortcmd(base64.b64encode(text).decode())
        return base64.b64decode(answer[2:]) if answer.startswith(b"+ ") else answer
    pop._shortcmd("AUTH " + mechanism.upper())
    scram(exchange, "sha256" if mechanism.endswith("256") else "sha1")
    print(pop._shortcmd(""))

def show(what, lines):
    text = b"".join(line + b"\r\n" for line in lines)
    print(what, len(text), hashlib.sha256(text).hexdigest())

print(pop.stat())
print(pop.list())
print(pop.uidl())
count = pop.stat()[0]
for action in actions:
    if action == "retr":
        for n in range(1, count + 1):
            reply, lines, size = pop.retr(n)
            print(reply, size)
            show(n, lines)
    elif action == "top":
        for n in range(1, count + 1):
            show(n, pop.top(n, 2)[1])
    elif action == "top-all":
        for n in range(1, count + 1):
            show(n, pop.top(n, 99999999)[1])
    elif action == "dele":
        for n in range(1, count + 1):
            print(pop.dele(n))
print(pop.quit())
