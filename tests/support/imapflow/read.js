// Lists an inbox and downloads from it with imapflow, and prints what it got.
// Arguments: port, TLS (as in the INI file), the authority's file, user, password, then `uid` or `uid/part` for each download.
const { createHash } = require("crypto");
const { readFileSync } = require("fs");
const { ImapFlow } = require("imapflow");

const [port, tls, ca, user, pass, ...downloads] = process.argv.slice(2);

async function main() {
    const client = new ImapFlow({
        host: "localhost",
        port: Number(port),
        secure: tls === "implicit",
        doSTARTTLS: tls === "starttls",
        tls: { ca: readFileSync(ca) },
        auth: { user, pass },
        logger: false,
    });
    await client.connect();
    const lock = await client.getMailboxLock("INBOX");
    for await (const message of client.fetch("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true, headers: ["references"] })) {
        console.log(message.seq, message.uid, message.envelope.subject, message.bodyStructure.type, [...message.flags]);
    }
    for (const download of downloads) {
        const [uid, part] = download.split("/");
        const { meta, content } = await client.download(uid, part, { uid: true });
        const hash = createHash("sha256");
        let size = 0;
        for await (const octets of content) {
            hash.update(octets);
            size += octets.length;
        }
        console.log(download, meta.expectedSize, meta.contentType, meta.filename, size, hash.digest("hex"));
    }
    lock.release();
    await client.logout();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
