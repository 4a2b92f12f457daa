# Starts a headless Thunderbird with a new profile, lets it run read.js (which has to lie beside this) with the arguments, and prints
# what that gives. Thunderbird is driven as its own tests do it, by Marionette: messages of JSON on a socket.
# Arguments: a folder for the profile, the port, user and password of the account (without TLS), then those of the script.
import base64, ctypes, json, os, socket, subprocess, sys, time

PREFS = """
user_pref("app.donation.eoy.version.viewed", 999);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.server.default.autosync_offline_stores", false);
user_pref("mail.server.default.offline_download", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.spotlight.firstRunDone", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("marionette.port", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.manage-offline-status", false);
// Nothing but this machine is spoken to.
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.ssl", "127.0.0.1");
user_pref("network.proxy.ssl_port", 9);
"""
ACCOUNT = """
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.account.account2.server", "server2");
user_pref("mail.accountmanager.accounts", "account1,account2");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.accountmanager.localfoldersserver", "server2");
user_pref("mail.identity.id1.useremail", "%(user)s");
user_pref("mail.identity.id1.valid", true);
user_pref("mail.server.server1.authMethod", 3);
user_pref("mail.server.server1.check_new_mail", true);
user_pref("mail.server.server1.directory-rel", "[ProfD]ImapMail/localhost");
user_pref("mail.server.server1.hostname", "localhost");
user_pref("mail.server.server1.login_at_startup", true);
user_pref("mail.server.server1.name", "%(user)s");
user_pref("mail.server.server1.port", %(port)s);
user_pref("mail.server.server1.socketType", 0);
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.userName", "%(user)s");
user_pref("mail.server.server2.directory-rel", "[ProfD]Mail/Local Folders");
user_pref("mail.server.server2.hostname", "Local Folders");
user_pref("mail.server.server2.name", "Local Folders");
user_pref("mail.server.server2.type", "none");
user_pref("mail.server.server2.userName", "nobody");
"""
HOME = "/usr/lib/thunderbird/"
DEADLINE = time.monotonic() + 60


class Marionette:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")
        self.count = 0
        self.message()

    def message(self):
        length = b""
        while not length.endswith(b":"):
            octet = self.file.read(1)
            assert octet, "Thunderbird closed the connection"
            length += octet
        return json.loads(self.file.read(int(length[:-1])))

    def __call__(self, command, **parameters):
        self.count += 1
        text = json.dumps([0, self.count, command, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self.message()
        assert not error, error
        return result


def wait_for(what, found):
    while True:
        result = found()
        if result:
            return result
        assert time.monotonic() < DEADLINE, "it did not come true: " + what
        assert thunderbird.poll() is None, "Thunderbird ended"
        # Nothing tells of it: it is looked for again, until the deadline.
        time.sleep(0.05)


def port():
    try:
        return int(open(os.path.join(profile, "MarionetteActivePort")).read() or 0)
    except FileNotFoundError:
        return None


class SECItem(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint), ("data", ctypes.c_void_p), ("len", ctypes.c_uint)]


def save_password():
    # As Thunderbird does it, with its own library. What that needs comes first, or the system's would be taken.
    for name in ["libmozsqlite3.so", "libnssutil3.so", "libnss3.so"]:
        nss = ctypes.CDLL(HOME + name)
    assert nss.NSS_InitReadWrite(b"sql:" + profile.encode()) == 0
    nss.PK11_GetInternalKeySlot.restype = ctypes.c_void_p
    slot = ctypes.c_void_p(nss.PK11_GetInternalKeySlot())
    assert nss.PK11_InitPin(slot, None, b"") == 0

    def encrypted(text):
        text = ctypes.create_string_buffer(text.encode(), len(text))
        key, data, result = SECItem(), SECItem(0, ctypes.addressof(text), len(text)), SECItem()
        assert nss.PK11SDR_Encrypt(ctypes.byref(key), ctypes.byref(data), ctypes.byref(result), None) == 0
        return base64.b64encode(ctypes.string_at(result.data, result.len)).decode()

    login = {"id": 1, "hostname": "imap://localhost", "httpRealm": "imap://localhost", "formSubmitURL": None}
    login |= {"usernameField": "", "passwordField": "", "encType": 1, "guid": "{11111111-1111-4111-8111-111111111111}"}
    login |= {"encryptedUsername": encrypted(user), "encryptedPassword": encrypted(password)}
    login |= {"timeCreated": 1, "timeLastUsed": 1, "timePasswordChanged": 1, "timesUsed": 1}
    with open(os.path.join(profile, "logins.json"), "w") as logins:
        json.dump({"nextId": 2, "logins": [login], "version": 3}, logins)
    nss.PK11_FreeSlot(slot)
    assert nss.NSS_Shutdown() == 0


here = os.path.dirname(os.path.abspath(__file__))
profile, port_number, user, password, *arguments = sys.argv[1:]
profile = os.path.abspath(profile)
with open(os.path.join(profile, "prefs.js"), "w") as prefs:
    prefs.write(PREFS + ACCOUNT % {"port": port_number, "user": user})
save_password()
command = (HOME + "thunderbird --headless --no-remote --marionette --remote-allow-system-access --profile").split()
# It ends with us, however we end.
command = ["setpriv", "--pdeathsig", "KILL", "--", *command, profile]
with open(os.path.join(profile, "output"), "w") as output:
    thunderbird = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
try:
    marionette = Marionette(wait_for("Thunderbird listens", port))
    marionette("WebDriver:NewSession")
    marionette("Marionette:SetContext", value="chrome")
    marionette("WebDriver:SetTimeouts", script=60000)
    script = open(os.path.join(here, "read.js")).read()
    for line in marionette("WebDriver:ExecuteAsyncScript", script=script, args=arguments)["value"]:
        print(*line)
    marionette("Marionette:Quit", flags=["eForceQuit"])
    thunderbird.wait(30)
finally:
    thunderbird.kill()
