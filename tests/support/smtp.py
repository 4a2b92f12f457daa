# Sends with smtplib: each further argument is one transaction, "FROM RCPT,RCPT SUBJECT" (a lone "rset" is RSET); the text
# comes from standard input. Prints what the server said, queue ids left out.
import base64, hashlib, hmac, re, smtplib, ssl, sys

host, port, tls, ca, mechanism, user, secret = sys.argv[1:8]
body = sys.stdin.buffer.read()
context = ssl.create_default_context(cafile=ca)
if tls == "implicit":
    smtp = smtplib.SMTP_SSL(host, int(port), local_hostname="client.example.org", context=context, timeout=30)
else:
    smtp = smtplib.SMTP(host, int(port), local_hostname="client.example.org", timeout=30)
if tls == "starttls":
    smtp.starttls(context=context)
smtp.ehlo()
smtp.user, smtp.password = user, secret

def scram(mechanism):
    digest = "sha256" if mechanism.endswith("256") else "sha1"
    bare = "n=%s,r=fyko+d2lbbFgONRv9qkxdawL" % user
    first = smtp.docmd("AUTH", mechanism.upper() + " " + base64.b64encode(b"n,," + bare.encode()).decode())
    first = base64.b64decode(first[1]).decode()
    parts = dict(p.split("=", 1) for p in first.split(","))
    salted = hashlib.pbkdf2_hmac(digest, secret.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    final = "c=biws,r=" + parts["r"]
    signed = ",".join([bare, first, final]).encode()
    key = hmac.digest(salted, b"Client Key", digest)
    signature = hmac.digest(hashlib.new(digest, key).digest(), signed, digest)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
    code, _ = smtp.docmd(base64.b64encode((final + ",p=" + proof).encode()).decode())
    return smtp.docmd("") if code == 334 else (code, _)

if mechanism in ("plain", "login", "cram-md5"):
    method = getattr(smtp, "auth_" + mechanism.replace("-", "_"))
    print(smtp.auth(mechanism.upper(), method, initial_response_ok=mechanism != "cram-md5"))
elif mechanism == "late-plain":
    print(smtp.auth("PLAIN", smtp.auth_plain, initial_response_ok=False))
elif mechanism == "late-login":
    print(smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False))
elif mechanism.startswith("scram-"):
    print(scram(mechanism))

def said(text):
    return re.sub(r"queued as \w+", "queued", str(text))

for transaction in sys.argv[8:]:
    if transaction == "rset":
        print(smtp.rset())
        continue
    sender, recipients, subject = transaction.split(" ", 2)
    message = ("From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n" % (sender, recipients, subject)).encode() + body
    options = ["SMTPUTF8", "BODY=8BITMIME"] if not (sender + recipients).isascii() else []
    try:
        print(said(smtp.sendmail(sender, recipients.split(","), message, mail_options=options)))
    except smtplib.SMTPException as e:
        print(type(e).__name__, said(e))
print(said(smtp.quit()))
