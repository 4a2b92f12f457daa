//! What a line of the client's that is held back waits for.
//!
//! A line may be long, and the server may say much while it waits: it is read again only when what it waits for has come, which is
//! found out without reading it.

use super::append::UNANSWERED_MAX;
use crate::protocol::imap::Imap;
use crate::protocol::imap::items::Wants;

#[derive(Clone, Copy)]
pub(in crate::protocol::imap) enum Until {
    /// The server has answered all that was said before.
    Answered,
    /// And is not in the middle of a response.
    Quiet,
    /// It is certain which mailbox is selected.
    Selected,
    /// No message is on its way.
    NoMessage,
    /// No chunk is on its way that could be taken for what this FETCH asks for.
    Told(Wants),
    /// It is certain who is logged in, and not too many messages that went up are unanswered.
    MayAppend,
    /// The deletion is decided.
    Decided,
    /// What is due of the mailbox is kept, or in all of them (`for_good`), or enough has come meanwhile. Looked at when so many commands of ours had
    /// been sent.
    MayLeave { for_good: bool, commands: u64 },
}

impl Imap {
    /// Whether the line that is held back would only be held back once more.
    pub(super) fn is_still_held(&self) -> bool {
        let Some(until) = self.client.held else { return false };
        match until {
            Until::Answered => !self.commands.list.is_empty(),
            Until::Quiet => !self.commands.list.is_empty() || self.server.is_midway(),
            Until::Selected => self.commands.select_is_open(),
            Until::NoMessage => self.commands.message_is_coming(),
            Until::Told(wants) => self.commands.confuses(wants),
            Until::MayAppend => !self.may_append(),
            Until::Decided => self.own.gate.as_ref().is_some_and(|gate| !gate.is_decided()),
            Until::MayLeave { for_good, commands } => {
                let waits_on = for_good || !self.own.left_long_enough() || self.own.commands_sent() == commands;
                waits_on && !self.own.may_leave(for_good)
            }
        }
    }

    pub(super) fn may_append(&self) -> bool {
        !self.commands.login_is_open() && self.commands.messages() < UNANSWERED_MAX
    }
}
