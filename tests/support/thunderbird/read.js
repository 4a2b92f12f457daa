// Runs inside Thunderbird, which reads its mail at start: reads, downloads and deletes messages of the inbox.
// Arguments: how many messages are in the inbox, then what to do in this order: `read` and a UID, `delete` and a UID, `download` and
// `all`.
const [count, ...todo] = arguments;
const done = todo.pop();

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const results = [];

async function main() {
    const server = MailServices.accounts.getIncomingServer("server1");
    const inbox = await until("there is an inbox", () => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox));
    // Not by its total, in which it counts all twice at times, when it looks at the folder for two reasons at once.
    const listed = () => inbox.msgDatabase ? Array.from(inbox.messages, (one) => one.messageKey) : [];
    await until(() => `all ${count} are listed, not only ${listed()}`, () => listed().length === Number(count));
    await until("there is a trash", () => {
        const trash = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
        return trash?.QueryInterface(Ci.nsIMsgImapMailFolder).verifiedAsOnlineFolder;
    });
    while (todo.length) {
        const [verb, what] = todo.splice(0, 2);
        results.push([verb, what, ...await verbs[verb](server, inbox, what)]);
    }
    return results;
}

const verbs = {
    async read(server, inbox, uid) {
        const uri = inbox.getUriForMsg(inbox.msgDatabase.getMsgHdrForKey(Number(uid)));
        const hash = Cc["@mozilla.org/security/hash;1"].createInstance(Ci.nsICryptoHash);
        hash.init(Ci.nsICryptoHash.SHA256);
        let size = 0;
        let ended = null;
        const listener = {
            QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
            onStartRequest() {},
            onDataAvailable(request, stream, offset, available) {
                size += available;
                hash.updateFromStream(stream, available);
            },
            onStopRequest(request, status) {
                ended = [status];
            },
        };
        MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "");
        const [status] = await until(`${uid} is read`, () => ended);
        const octets = Array.from(hash.finish(false), (c) => c.charCodeAt(0).toString(16).padStart(2, "0"));
        return [status, size, octets.join("")];
    },
    async download(server, inbox) {
        inbox.downloadAllForOffline(null, null);
        const isThere = (header) => header.flags & Ci.nsMsgMessageFlags.Offline;
        await until("all are downloaded", () => Array.from(inbox.messages).every(isThere));
        return Array.from(inbox.messages, (header) => [header.messageKey, header.offlineMessageSize]).sort();
    },
    async delete(server, inbox, uid) {
        const trash = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Trash);
        const header = inbox.msgDatabase.getMsgHdrForKey(Number(uid));
        const subject = header.subject;
        inbox.deleteMessages([header], null, false, false, null, false);
        await until(`${uid} is gone`, () => !inbox.msgDatabase.containsKey(Number(uid)));
        trash.updateFolder(null);
        await until(`${uid} is in the trash`, () => Array.from(trash.messages).some((other) => other.subject === subject));
        return [subject];
    },
};

async function until(what, found) {
    const end = Date.now() + 40000;
    for (;;) {
        const result = found();
        if (result) return result;
        if (Date.now() > end) throw new Error("it did not come true: " + (what.call ? what() : what));
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

main().then(done, (error) => done([...results, [String(error), error.stack]]));
