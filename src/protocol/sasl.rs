//! SASL: who is logging in, read from what the client says; one module for the three protocols.
//!
//! Only mechanisms whose identity can be read, and which do not bind the channel that ends here, are offered or let through.
//! Never judges: the identity counts only when the server has accepted the exchange, and [`Exchange::identity`] is `None`
//! as long as nothing was said that names one. No token or proof is stored, and a password only where it is to be learnt
//! ([`Exchange::learning`]): what was decoded is overwritten as soon as the name has been read from it, and nothing here prints it.
//!
//! An empty message (`=` as initial response, an empty line later) names nobody and is let through: whether it is allowed is
//! the server's to say (it is the usual answer to an error challenge of XOAUTH2). A mechanism's message that ought to name
//! somebody and cannot be read is [`Rejected`]: such a login could succeed without an owner.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Secret;

/// A mechanism that is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    CramMd5,
    /// `SCRAM-*` without `-PLUS`.
    Scram,
    Xoauth2,
    OauthBearer,
}

impl Mechanism {
    /// The mechanism of this name (any case), or none if it must not be used through us.
    pub fn parse(name: &[u8]) -> Option<Mechanism> {
        let name = name.to_ascii_uppercase();
        match &name[..] {
            b"PLAIN" => Some(Mechanism::Plain),
            b"LOGIN" => Some(Mechanism::Login),
            b"CRAM-MD5" => Some(Mechanism::CramMd5),
            b"XOAUTH2" => Some(Mechanism::Xoauth2),
            b"OAUTHBEARER" => Some(Mechanism::OauthBearer),
            _ => (name.starts_with(b"SCRAM-") && !binds_channel(&name)).then_some(Mechanism::Scram),
        }
    }
}

/// Those of the offered mechanisms that stay, in their order and spelling. All SCRAM goes where a `-PLUS` was offered: a client that can
/// bind would see a downgrade and the server must then fail it (RFC 5802, section 6).
pub fn filter<'a>(offered: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let plus = offered.iter().any(|name| binds_channel(name));
    let stays = |name: &[u8]| match Mechanism::parse(name) {
        None => false,
        Some(Mechanism::Scram) => !plus,
        Some(_) => true,
    };
    offered.iter().copied().filter(|name| stays(name)).collect()
}

fn binds_channel(name: &[u8]) -> bool {
    name.len() >= 5 && name[name.len() - 5..].eq_ignore_ascii_case(b"-PLUS")
}

/// The exchange cannot be let through; the text says why, for the client and for the log. Holds no secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected(pub &'static str);

const BAD_BASE64: Rejected = Rejected("the SASL message is not base64");
const CHANNEL_BINDING: Rejected = Rejected("channel binding cannot work through a proxy");
const BAD_GS2: Rejected = Rejected("the SASL message has no valid GS2 header");
const BAD_NAME: Rejected = Rejected("the user name in the SASL message is not valid");
const NO_NAME: Rejected = Rejected("the SASL message names no user");

/// One authentication exchange.
pub struct Exchange {
    mechanism: Mechanism,
    /// The name last said.
    identity: Option<Vec<u8>>,
    /// A message that should name somebody has been said.
    named: bool,
    /// What the server's last challenge asks for.
    asked: Asked,
    learns: bool,
    /// The password that goes with `identity`, where `learns`.
    password: Option<Secret>,
    /// LOGIN only: more was asked for than a password, and it cannot be told which of the answers that was.
    several: bool,
    /// LOGIN only: an answer behind the name was given.
    proven: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// No challenge yet, or an empty one: the mechanism's first message. A server that ignored the initial response asks so again.
    First,
    /// A challenge that does not say by itself what it wants.
    More,
    /// LOGIN only: the prompt is for the user name.
    User,
    /// LOGIN only: the prompt is for the password.
    Password,
}

impl Exchange {
    pub fn new(mechanism: Mechanism) -> Exchange {
        Exchange {
            mechanism,
            identity: None,
            named: false,
            asked: Asked::First,
            learns: false,
            password: None,
            several: false,
            proven: false,
        }
    }

    /// The same; where `learns`, a password is remembered until the end of the exchange.
    pub fn learning(self, learns: bool) -> Exchange {
        Exchange { learns, ..self }
    }

    /// The password that was given for [`Exchange::identity`]. None where the mechanism has none, where the mailbox is that of somebody else, where it
    /// cannot be told which of the client's answers it was, or where it is not to be learnt.
    pub fn take_password(&mut self) -> Option<Secret> {
        self.password.take().filter(|_| self.identity.is_some() && !self.several)
    }

    /// The initial response of the command line (base64, or `=` for an empty one).
    ///
    /// # Errors
    /// [`Rejected`] where the identity cannot be read though the mechanism should show it here (also: bad base64, channel binding).
    pub fn initial_response(&mut self, base64: &[u8]) -> Result<(), Rejected> {
        self.message(if base64 == b"=" { b"" } else { base64 })
    }

    /// A challenge of the server: the text behind `+ ` or `334 `, base64.
    pub fn challenge(&mut self, base64: &[u8]) {
        let base64 = base64.trim_ascii();
        self.asked = match self.mechanism {
            Mechanism::Login => prompt(base64),
            _ if base64.is_empty() || base64 == b"=" => Asked::First,
            _ => Asked::More,
        };
    }

    /// A line of the client, without its ending. A lone `*` cancels.
    ///
    /// # Errors
    /// As [`Exchange::initial_response`].
    pub fn response(&mut self, line: &[u8]) -> Result<(), Rejected> {
        if line == b"*" {
            self.cancel();
            return Ok(());
        }
        self.message(line)
    }

    /// The exchange is given up (a `*` was sent in the client's place): it names nobody.
    pub fn cancel(&mut self) {
        self.identity = None;
        self.password = None;
    }

    /// The login name that this exchange is for, as far as is known: to be used once the server has said yes.
    pub fn identity(&self) -> Option<&[u8]> {
        self.identity.as_deref()
    }

    fn message(&mut self, base64: &[u8]) -> Result<(), Rejected> {
        if !self.names_somebody() {
            self.proves(base64);
            return Ok(());
        }
        self.password = None;
        if self.mechanism == Mechanism::Login {
            (self.several, self.proven) = (false, false);
            // Also where it is empty: what follows without a prompt that we understand must never be a password taken for a name.
            self.named = true;
            self.identity = None;
        }
        if base64.is_empty() {
            return Ok(());
        }
        // An answer to OAuth's error challenge may be anything (neomutt sends a bare 0x01 with the next command glued to it), and
        // no success can follow it. In other mechanisms what we cannot read could be a name that the server can.
        let may_be_dummy = self.named
            && self.asked == Asked::More
            && matches!(self.mechanism, Mechanism::Xoauth2 | Mechanism::OauthBearer);
        let decoded = decode(base64);
        if let (Mechanism::Plain, true, Ok(message)) = (self.mechanism, self.learns, &decoded) {
            self.password = own_password(message.bytes());
        }
        match decoded.and_then(|message| identity_in(self.mechanism, message.bytes())) {
            Ok(identity) => {
                self.named = true;
                self.identity = Some(identity);
                Ok(())
            }
            Err(_) if may_be_dummy => Ok(()),
            Err(rejected) => {
                self.cancel();
                Err(rejected)
            }
        }
    }

    /// A message that is no name. Of LOGIN it is the password, if it is the only one.
    fn proves(&mut self, base64: &[u8]) {
        if self.mechanism == Mechanism::Login && self.learns {
            self.several |= std::mem::replace(&mut self.proven, true);
            self.password = decode(base64).ok().and_then(|message| Secret::password(message.bytes()));
        }
    }

    /// Whether the client's next message is one that names the user.
    fn names_somebody(&self) -> bool {
        match (self.mechanism, self.asked) {
            (Mechanism::Login, Asked::User) => true,
            (Mechanism::Login, Asked::Password) => false,
            // Prompts in words we do not know: the user comes first.
            (Mechanism::Login, Asked::First | Asked::More) => !self.named,
            // SCRAM's later messages are proofs.
            (Mechanism::Scram, Asked::More) => !self.named,
            _ => true,
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

fn decode(base64: &[u8]) -> Result<Secret, Rejected> {
    // Some clients leave the padding away and some servers do not mind: the name is the same.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut message = Secret::new(vec![0; base64.len()]);
    let len = LENIENT.decode_slice(base64, message.bytes_mut()).map_err(|_| BAD_BASE64)?;
    message.bytes_mut().truncate(len);
    Ok(message)
}

/// What a prompt of LOGIN asks for, whatever its exact words; some servers send it without base64.
fn prompt(challenge: &[u8]) -> Asked {
    let text =
        decode(challenge).map_or_else(|_| challenge.to_ascii_lowercase(), |text| text.bytes().to_ascii_lowercase());
    let says = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    if says(b"pass") {
        Asked::Password
    } else if says(b"user") || says(b"name") {
        Asked::User
    } else {
        Asked::More
    }
}

fn identity_in(mechanism: Mechanism, message: &[u8]) -> Result<Vec<u8>, Rejected> {
    let identity = match mechanism {
        Mechanism::Plain => plain(message)?.to_vec(),
        Mechanism::Login => message.to_vec(),
        Mechanism::CramMd5 => cram_md5(message)?.to_vec(),
        Mechanism::Scram => scram(message)?,
        Mechanism::Xoauth2 => xoauth2(message)?.to_vec(),
        Mechanism::OauthBearer => gs2_header(message)?.0.ok_or(NO_NAME)?,
    };
    if identity.is_empty() { Err(NO_NAME) } else { Ok(identity) }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616): the mailbox is the authzid's where one is asked for.
fn plain(message: &[u8]) -> Result<&[u8], Rejected> {
    let mut fields = message.splitn(3, |&b| b == 0);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(b""), Some(authcid), Some(_)) => Ok(authcid),
        (Some(authzid), Some(_), Some(_)) => Ok(authzid),
        _ => Err(Rejected("the SASL message does not have the three fields of PLAIN")),
    }
}

/// The password in a message of PLAIN, unless the mailbox is that of somebody else.
fn own_password(message: &[u8]) -> Option<Secret> {
    let mut fields = message.splitn(3, |&b| b == 0);
    let (authzid, authcid, password) = (fields.next()?, fields.next()?, fields.next()?);
    if authzid.is_empty() || authzid == authcid { Secret::password(password) } else { None }
}

/// `user SP digest` (RFC 2195): a name may hold blanks, a digest does not.
fn cram_md5(message: &[u8]) -> Result<&[u8], Rejected> {
    let at = message.iter().rposition(|&b| b == b' ').ok_or(NO_NAME)?;
    Ok(&message[..at])
}

/// `user=U ^A auth=Bearer T ^A ^A`. Two users are none: a server might take the other one.
fn xoauth2(message: &[u8]) -> Result<&[u8], Rejected> {
    let mut users = message.split(|&b| b == 1).filter_map(|field| field.strip_prefix(b"user="));
    let user = users.next().ok_or(NO_NAME)?;
    if users.next().is_some() { Err(BAD_NAME) } else { Ok(user) }
}

/// `gs2-header n=user,r=...` (RFC 5802, section 7).
fn scram(message: &[u8]) -> Result<Vec<u8>, Rejected> {
    let (authzid, rest) = gs2_header(message)?;
    let user = rest.strip_prefix(b"n=").ok_or(NO_NAME)?;
    let user = saslname(user.split(|&b| b == b',').next().unwrap_or_default())?;
    Ok(authzid.unwrap_or(user))
}

/// `(n|y|p=...),[a=authzid],` (RFC 5801, section 4): the authzid, if any, and what follows the header.
fn gs2_header(message: &[u8]) -> Result<(Option<Vec<u8>>, &[u8]), Rejected> {
    let mut fields = message.splitn(3, |&b| b == b',');
    match fields.next() {
        Some(b"n" | b"y") => {}
        Some(flag) if flag.starts_with(b"p=") => return Err(CHANNEL_BINDING),
        _ => return Err(BAD_GS2),
    }
    let (authzid, rest) = (fields.next().ok_or(BAD_GS2)?, fields.next().ok_or(BAD_GS2)?);
    if authzid.is_empty() {
        return Ok((None, rest));
    }
    let authzid = saslname(authzid.strip_prefix(b"a=").ok_or(BAD_GS2)?)?;
    if authzid.is_empty() { Err(BAD_NAME) } else { Ok((Some(authzid), rest)) }
}

/// Undoes `=2C` and `=3D` (RFC 5802, section 5.1); any other `=` is an error there.
fn saslname(name: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'=' {
            decoded.push(first);
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix(b"2C").or_else(|| behind.strip_prefix(b"2c")) {
            decoded.push(b',');
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix(b"3D").or_else(|| behind.strip_prefix(b"3d")) {
            decoded.push(b'=');
            rest = behind;
        } else {
            return Err(BAD_NAME);
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD as BASE64;

    fn b64(text: &[u8]) -> Vec<u8> {
        BASE64.encode(text).into_bytes()
    }

    /// The identity after one message, once as initial response and once behind an empty challenge.
    fn identity(mechanism: Mechanism, message: &[u8]) -> Result<Option<Vec<u8>>, Rejected> {
        let mut initial = Exchange::new(mechanism);
        let first = initial.initial_response(&b64(message)).map(|()| initial.identity().map(<[u8]>::to_vec));
        let mut late = Exchange::new(mechanism);
        late.challenge(b"");
        let second = late.response(&b64(message)).map(|()| late.identity().map(<[u8]>::to_vec));
        assert_eq!(first, second);
        first
    }

    fn is(name: &str) -> Result<Option<Vec<u8>>, Rejected> {
        Ok(Some(name.as_bytes().to_vec()))
    }

    #[test]
    fn only_mechanisms_that_show_the_user_and_bind_nothing() {
        assert_eq!(Mechanism::parse(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse(b"Login"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse(b"CRAM-MD5"), Some(Mechanism::CramMd5));
        assert_eq!(Mechanism::parse(b"scram-sha-256"), Some(Mechanism::Scram));
        assert_eq!(Mechanism::parse(b"XOAUTH2"), Some(Mechanism::Xoauth2));
        assert_eq!(Mechanism::parse(b"OAuthBearer"), Some(Mechanism::OauthBearer));
        for name in [
            "SCRAM-SHA-1-PLUS",
            "scram-sha-256-plus",
            "GSSAPI",
            "NTLM",
            "DIGEST-MD5",
            "EXTERNAL",
            "ANONYMOUS",
            "",
            "-PLUS",
        ] {
            assert_eq!(Mechanism::parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn the_filter_keeps_order_and_spelling_and_drops_scram_beside_plus() {
        assert_eq!(filter(&[b"GSSAPI", b"Plain", b"SCRAM-SHA-1", b"LOGIN"]), [&b"Plain"[..], b"SCRAM-SHA-1", b"LOGIN"]);
        assert_eq!(filter(&[b"SCRAM-SHA-1", b"SCRAM-SHA-256-plus", b"PLAIN"]), [b"PLAIN"]);
        assert!(filter(&[b"NTLM"]).is_empty());
    }

    #[test]
    fn plain_is_the_authzid_or_else_the_authcid() {
        assert_eq!(identity(Mechanism::Plain, b"\0user\0pw"), is("user"));
        assert_eq!(identity(Mechanism::Plain, b"boss\0user\0pw"), is("boss"));
        assert_eq!(identity(Mechanism::Plain, b"\0u\0p\0q"), is("u"));
        assert_eq!(identity(Mechanism::Plain, b"\0\0pw"), Err(NO_NAME));
        assert!(identity(Mechanism::Plain, b"user\0pw").is_err());
    }

    #[test]
    fn plain_with_an_empty_initial_response_names_nobody_yet() {
        for empty in [&b"="[..], b""] {
            let mut exchange = Exchange::new(Mechanism::Plain);
            assert_eq!(exchange.initial_response(empty), Ok(()));
            assert_eq!(exchange.identity(), None);
            exchange.challenge(b"");
            assert_eq!(exchange.response(&b64(b"\0user\0pw")), Ok(()));
            assert_eq!(exchange.identity(), Some(&b"user"[..]));
        }
    }

    #[test]
    fn a_repeated_message_replaces_the_first() {
        let mut exchange = Exchange::new(Mechanism::Plain);
        exchange.initial_response(&b64(b"\0one\0pw")).unwrap();
        exchange.challenge(b"");
        exchange.response(&b64(b"\0two\0pw")).unwrap();
        assert_eq!(exchange.identity(), Some(&b"two"[..]));
        exchange.challenge(b"");
        assert_eq!(exchange.response(b"%%"), Err(BAD_BASE64));
        assert_eq!(exchange.identity(), None);
    }

    #[test]
    fn login_goes_by_the_prompts_text() {
        for (user, pass) in [
            ("Username:", "Password:"),
            ("User Name\0", "Password\0"),
            ("username", "PASSWORD"),
            ("Benutzername:", "Kennwort:"),
            ("Kennung", "Passwort"),
            ("?", "?"),
        ] {
            let mut exchange = Exchange::new(Mechanism::Login);
            exchange.challenge(&b64(user.as_bytes()));
            exchange.response(&b64(b"me@here")).unwrap();
            exchange.challenge(&b64(pass.as_bytes()));
            exchange.response(&b64(b"secret")).unwrap();
            assert_eq!(exchange.identity(), Some(&b"me@here"[..]), "{user}");
        }
    }

    #[test]
    fn login_with_an_initial_response() {
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.initial_response(&b64(b"me")).unwrap();
        exchange.challenge(&b64(b"Password:"));
        exchange.response(&b64(b"secret")).unwrap();
        assert_eq!(exchange.identity(), Some(&b"me"[..]));
    }

    #[test]
    fn login_with_an_initial_response_that_the_server_ignores() {
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.initial_response(&b64(b"me")).unwrap();
        exchange.challenge(&b64(b"Username:"));
        exchange.response(&b64(b"myself")).unwrap();
        exchange.challenge(&b64(b"Password:"));
        exchange.response(b"not base64!").unwrap();
        assert_eq!(exchange.identity(), Some(&b"myself"[..]));
    }

    #[test]
    fn login_prompts_may_come_without_base64() {
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.challenge(b"Password:");
        exchange.response(&b64(b"secret")).unwrap();
        assert_eq!(exchange.identity(), None);
        exchange.challenge(b"Username:");
        exchange.response(&b64(b"me")).unwrap();
        assert_eq!(exchange.identity(), Some(&b"me"[..]));
    }

    #[test]
    fn a_password_is_never_taken_for_a_name() {
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.challenge(&b64(b"Username:"));
        exchange.response(b"").unwrap();
        exchange.challenge(b"");
        exchange.response(&b64(b"secret")).unwrap();
        assert_eq!(exchange.identity(), None);
    }

    #[test]
    fn cram_md5_splits_at_the_last_blank() {
        let mut exchange = Exchange::new(Mechanism::CramMd5);
        exchange.challenge(&b64(b"<1896.697170952@postoffice.example.net>"));
        exchange.response(&b64(b"tim smith b913a602c7eda7a495b4e6e7334d3890")).unwrap();
        assert_eq!(exchange.identity(), Some(&b"tim smith"[..]));
        let mut exchange = Exchange::new(Mechanism::CramMd5);
        exchange.challenge(&b64(b"<1>"));
        assert_eq!(exchange.response(&b64(b"nodigest")), Err(NO_NAME));
        assert_eq!(exchange.response(b"*"), Ok(()));
        // A name said too early is worth nothing, whatever is said later.
        let mut exchange = Exchange::new(Mechanism::CramMd5);
        exchange.initial_response(&b64(b"tim 0123")).unwrap();
        exchange.challenge(&b64(b"<1>"));
        assert_eq!(exchange.response(b"a b"), Err(BAD_BASE64));
        assert_eq!(exchange.identity(), None);
    }

    #[test]
    fn scram_names() {
        assert_eq!(identity(Mechanism::Scram, b"n,,n=user,r=abc"), is("user"));
        assert_eq!(identity(Mechanism::Scram, b"y,,n=user,r=abc"), is("user"));
        assert_eq!(identity(Mechanism::Scram, b"n,a=boss,n=user,r=abc"), is("boss"));
        assert_eq!(identity(Mechanism::Scram, b"n,,n=a=2Cb=3Dc,r=abc"), is("a,b=c"));
        assert_eq!(identity(Mechanism::Scram, b"n,a=x=2cy,n=a,r=abc"), is("x,y"));
        assert_eq!(identity(Mechanism::Scram, b"n,,n=a=2,r=abc"), Err(BAD_NAME));
        assert_eq!(identity(Mechanism::Scram, b"p=tls-unique,,n=user,r=abc"), Err(CHANNEL_BINDING));
        assert_eq!(identity(Mechanism::Scram, b"n,,m=ext,n=user,r=abc"), Err(NO_NAME));
        assert_eq!(identity(Mechanism::Scram, b"n,x=y,n=user"), Err(BAD_GS2));
        assert_eq!(identity(Mechanism::Scram, b"n,"), Err(BAD_GS2));
        assert_eq!(identity(Mechanism::Scram, b"q,,n=user,r="), Err(BAD_GS2));
    }

    #[test]
    fn scram_proofs_change_nothing() {
        let mut exchange = Exchange::new(Mechanism::Scram);
        exchange.initial_response(&b64(b"n,,n=user,r=abc")).unwrap();
        exchange.challenge(&b64(b"r=abcdef,s=QSXCR,i=4096"));
        exchange.response(&b64(b"c=biws,r=abcdef,p=dHzb")).unwrap();
        exchange.challenge(&b64(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="));
        exchange.response(b"").unwrap();
        assert_eq!(exchange.identity(), Some(&b"user"[..]));
    }

    #[test]
    fn xoauth2_and_its_dummy_answers() {
        let token = b"user=me@here\x01auth=Bearer tok\x01\x01";
        assert_eq!(identity(Mechanism::Xoauth2, token), is("me@here"));
        assert_eq!(identity(Mechanism::Xoauth2, b"auth=Bearer tok\x01\x01"), Err(NO_NAME));
        assert_eq!(identity(Mechanism::Xoauth2, b"user=\x01auth=Bearer tok\x01\x01"), Err(NO_NAME));
        assert_eq!(identity(Mechanism::Xoauth2, b"user=a\x01user=b\x01\x01"), Err(BAD_NAME));
        for dummy in [&b""[..], b"AQ==", b"\x01QUIT", b"\x01"] {
            let mut exchange = Exchange::new(Mechanism::Xoauth2);
            exchange.initial_response(&b64(token)).unwrap();
            exchange.challenge(&b64(b"{\"status\":\"401\"}"));
            assert_eq!(exchange.response(dummy), Ok(()));
        }
    }

    #[test]
    fn oauthbearer_needs_an_authzid() {
        let with = b"n,a=user@example.com,\x01host=h\x01port=143\x01auth=Bearer tok\x01\x01";
        assert_eq!(identity(Mechanism::OauthBearer, with), is("user@example.com"));
        assert_eq!(identity(Mechanism::OauthBearer, b"n,,\x01auth=Bearer tok\x01\x01"), Err(NO_NAME));
        assert_eq!(identity(Mechanism::OauthBearer, b"p=x,a=u,\x01\x01"), Err(CHANNEL_BINDING));
        let mut exchange = Exchange::new(Mechanism::OauthBearer);
        exchange.initial_response(&b64(with)).unwrap();
        exchange.challenge(&b64(b"{\"status\":\"invalid_token\"}"));
        assert_eq!(exchange.response(b"AQ=="), Ok(()));
    }

    #[test]
    fn a_cancelled_exchange_is_nobodys() {
        let mut exchange = Exchange::new(Mechanism::Plain);
        exchange.initial_response(&b64(b"\0user\0pw")).unwrap();
        assert_eq!(exchange.response(b"*"), Ok(()));
        assert_eq!(exchange.identity(), None);
    }

    #[test]
    fn bad_base64_where_the_name_should_be_is_rejected() {
        for mechanism in
            [Mechanism::Plain, Mechanism::Login, Mechanism::Scram, Mechanism::Xoauth2, Mechanism::OauthBearer]
        {
            assert_eq!(Exchange::new(mechanism).initial_response(b"!!"), Err(BAD_BASE64));
            assert_eq!(Exchange::new(mechanism).response(b"a b c"), Err(BAD_BASE64));
        }
    }

    #[test]
    fn missing_padding_does_not_hide_the_name() {
        let mut exchange = Exchange::new(Mechanism::Plain);
        let message = b64(b"\0user\0p");
        let unpadded = message.iter().copied().filter(|&b| b != b'=').collect::<Vec<u8>>();
        assert_ne!(message, unpadded);
        exchange.initial_response(&unpadded).unwrap();
        assert_eq!(exchange.identity(), Some(&b"user"[..]));
    }

    /// The password that is learnt of an exchange: `+` is a challenge, all else the client's answers, encoded here; the first is the initial response.
    fn learnt(mechanism: Mechanism, said: &[&[u8]]) -> Option<Vec<u8>> {
        let mut exchange = Exchange::new(mechanism).learning(true);
        for (number, &text) in said.iter().enumerate() {
            let _ = match text.strip_prefix(b"+") {
                Some(challenge) => {
                    exchange.challenge(&b64(challenge));
                    Ok(())
                }
                None if text == b"*" => exchange.response(text),
                None if number == 0 => exchange.initial_response(&b64(text)),
                None => exchange.response(&b64(text)),
            };
        }
        exchange.take_password().map(|password| password.bytes().to_vec())
    }

    #[test]
    fn passwords_are_learnt_of_plain_and_login_only() {
        let right = Some(b"pw".to_vec());
        for said in
            [&[&b"\0user\0pw"[..]][..], &[b"+", b"\0user\0pw"], &[b"user\0user\0pw"], &[b"\0a\0x", b"+", b"\0user\0pw"]]
        {
            assert_eq!(learnt(Mechanism::Plain, said), right, "{said:?}");
        }
        for said in [
            &[&b"boss\0user\0pw"[..]][..],
            &[b"\0user\0"],
            &[b"\0user\0p\0w"],
            &[b"\0user\0p\rw"],
            &[b"\0user\0pw", b"*"],
            &[b"\0user\0pw", b"+", b"user"],
            &[b"\0\0pw"],
        ] {
            assert_eq!(learnt(Mechanism::Plain, said), None, "{said:?}");
        }
        for said in [
            &[&b"+Username:"[..], b"user", b"+Password:", b"pw"][..],
            &[b"user", b"+Password:", b"pw"],
            &[b"user", b"+Kennwort:", b"pw"],
            &[b"+?", b"user", b"+?", b"pw"],
            &[b"+User:", b"x", b"+Pass:", b"y", b"+User:", b"user", b"+Pass:", b"pw"],
        ] {
            assert_eq!(learnt(Mechanism::Login, said), right, "{said:?}");
        }
        for said in [
            &[&b"user"[..]][..],
            &[b"user", b"+Password:", b""],
            &[b"user", b"+Password:", b"pw", b"+Token:", b"123456"],
            &[b"user", b"+Token:", b"123456", b"+Password:", b"pw"],
            &[b"user", b"+Password:", b"pw", b"*"],
            &[b"user", b"+Password:", b"pw", b"+User:", b"other"],
            &[b"+Password:", b"pw"],
        ] {
            assert_eq!(learnt(Mechanism::Login, said), None, "{said:?}");
        }
        assert_eq!(learnt(Mechanism::CramMd5, &[b"+<1>", b"user 0123"]), None);
        assert_eq!(learnt(Mechanism::Scram, &[b"n,,n=user,r=a", b"+r=ab", b"c=biws,r=ab,p=x"]), None);
        assert_eq!(learnt(Mechanism::Xoauth2, &[b"user=u\x01auth=Bearer tok\x01\x01"]), None);
        assert_eq!(learnt(Mechanism::OauthBearer, &[b"n,a=u,\x01auth=Bearer tok\x01\x01"]), None);
        let mut silent = Exchange::new(Mechanism::Plain);
        silent.initial_response(&b64(b"\0user\0pw")).unwrap();
        assert!(silent.take_password().is_none());
    }

    #[test]
    fn debug_shows_nothing_said() {
        let mut exchange = Exchange::new(Mechanism::Plain);
        exchange.initial_response(&b64(b"\0user\0password")).unwrap();
        assert_eq!(format!("{exchange:?}"), "Exchange { mechanism: Plain, .. }");
    }
}
