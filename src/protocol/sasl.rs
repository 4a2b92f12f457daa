//! SASL: who is logging in, read from what the client says; one module for the three protocols.
//!
//! Only mechanisms whose identity can be read, and which do not bind the channel that ends here, are offered or let through.
//! Never judges: the identity counts only when the server has accepted the exchange.

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
    pub fn parse(_name: &[u8]) -> Option<Mechanism> {
        todo!()
    }
}

/// Those of the offered mechanisms that stay, in their order and spelling. All SCRAM goes where a `-PLUS` was offered: a client that can
/// bind would see a downgrade and the server must then fail it (RFC 5802, section 6).
pub fn filter<'a>(_offered: &[&'a [u8]]) -> Vec<&'a [u8]> {
    todo!()
}

/// The exchange cannot be let through; the text says why, for the client and for the log. Holds no secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected(pub &'static str);

/// One authentication exchange.
pub struct Exchange {
    _private: (),
}

impl Exchange {
    pub fn new(_mechanism: Mechanism) -> Exchange {
        todo!()
    }

    /// The initial response of the command line (base64, or `=` for an empty one).
    ///
    /// # Errors
    /// [`Rejected`] where the identity cannot be read though the mechanism should show it here (also: bad base64, channel binding).
    pub fn initial_response(&mut self, _base64: &[u8]) -> Result<(), Rejected> {
        todo!()
    }

    /// A challenge of the server: the text behind `+ ` or `334 `, base64.
    pub fn challenge(&mut self, _base64: &[u8]) {
        todo!()
    }

    /// A line of the client, without its ending. A lone `*` cancels.
    ///
    /// # Errors
    /// As [`Exchange::initial_response`].
    pub fn response(&mut self, _line: &[u8]) -> Result<(), Rejected> {
        todo!()
    }

    /// The login name that this exchange is for, as far as is known: to be used once the server has said yes.
    pub fn identity(&self) -> Option<&[u8]> {
        todo!()
    }
}
