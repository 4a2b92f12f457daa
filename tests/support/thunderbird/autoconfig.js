// Runs inside Thunderbird: makes an account of a configuration for autoconfig, as its own account set-up does, then reads the inbox with it.
// Arguments: how many messages are in the inbox, the configuration, the address, the password, the authority's certificate in base64.
const [count, xml, address, password, authority] = arguments;
const done = arguments[arguments.length - 1];

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const set_up = "resource:///modules/accountcreation/";
const { AccountConfig } = ChromeUtils.importESModule(set_up + "AccountConfig.sys.mjs");
const { CreateInBackend } = ChromeUtils.importESModule(set_up + "CreateInBackend.sys.mjs");
const { readFromXML } = ChromeUtils.importESModule(set_up + "readFromXML.sys.mjs");
const { JXON } = ChromeUtils.importESModule("resource:///modules/JXON.sys.mjs");
const { NetUtil } = ChromeUtils.importESModule("resource://gre/modules/NetUtil.sys.mjs");
const { OAuth2Providers } = ChromeUtils.importESModule("resource:///modules/OAuth2Providers.sys.mjs");

async function main() {
    const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
    certificates.addCertFromBase64(authority, "CT,C,C");
    const document = new DOMParser().parseFromString(xml, "text/xml");
    const config = readFromXML(JXON.build(document), "isp-https");
    AccountConfig.replaceVariables(config, "Joe", address, password);
    const shown = (one) => [one.type, one.hostname, one.port, one.socketType, one.auth, one.username];
    const results = [shown(config.incoming), ...config.incomingAlternatives.map(shown), shown(config.outgoing)];
    config.rememberPassword = true;
    const account = await CreateInBackend.createAccountInBackend(config);
    const server = account.incomingServer;
    server.performExpand(null);
    const inbox = await until("there is an inbox", () => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
    await new Promise((resolve) => inbox.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(null, ended(resolve)));
    const messages = () => (inbox.msgDatabase ? Array.from(inbox.messages) : []);
    await until(`all ${count} are listed`, () => messages().length === Number(count));
    for (const header of messages()) {
        results.push(["read", await read(inbox.getUriForMsg(header)), header.mime2DecodedSubject]);
    }
    for (const name of ["imap.gmail.com", "outlook.office365.com", "mail.office.example"]) {
        results.push(["oauth", name, Boolean(OAuth2Providers.getHostnameDetails(name, "imap"))]);
    }
    return results;
}

// How many octets it is.
async function read(uri) {
    let size = 0;
    await new Promise((resolve, reject) => {
        const listener = {
            QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
            onStartRequest() {},
            onDataAvailable(request, stream, offset, available) {
                size += available;
                NetUtil.readInputStreamToString(stream, available, { charset: "windows-1252" });
            },
            onStopRequest: (request, status) => (status ? reject(new Error(`${uri}: ${status}`)) : resolve()),
        };
        MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "");
    });
    return size;
}

function ended(resolve) {
    return { QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]), OnStartRunningUrl() {}, OnStopRunningUrl: resolve };
}

async function until(what, found) {
    const end = Date.now() + 40000;
    for (;;) {
        const result = found();
        if (result) return result;
        if (Date.now() > end) throw new Error("it did not come true: " + what);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

main().then(done, (error) => done([[String(error), error.stack]]));
