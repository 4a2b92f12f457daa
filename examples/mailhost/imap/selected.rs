//! What a session does with the folder that it has selected: FETCH, SEARCH, STORE, EXPUNGE, COPY, MOVE.

use std::io;

use super::super::Message;
use super::fetch::{self, Item};
use super::search::{self, Position};
use super::syntax::{Argument, folder_name, in_set};
use super::{Session, UIDVALIDITY};

pub(super) struct Selected {
    pub(super) folder: String,
    pub(super) read_only: bool,
    /// As the client knows them.
    pub(super) messages: Vec<Message>,
}

impl Selected {
    /// Index and number of those in a set.
    fn find(&self, set: &str, by_uid: bool) -> Vec<(usize, u32)> {
        let count = self.messages.len() as u32;
        let highest = if by_uid { self.messages.last().map_or(0, |last| last.uid) } else { count };
        let in_set = |(index, number): &(usize, u32)| {
            in_set(set, if by_uid { self.messages[*index].uid } else { *number }, highest)
        };
        (0..self.messages.len()).zip(1..).filter(in_set).collect()
    }
}

impl Session<'_> {
    /// What needs a selected folder.
    pub(super) fn selected(
        &mut self,
        user: &str,
        selected: &mut Selected,
        name: &str,
        texts: &[&str],
        arguments: &[Argument],
        by_uid: bool,
    ) -> io::Result<String> {
        Ok(match (name, texts) {
            ("FETCH", [set, items]) => self.fetch(user, selected, set, items, by_uid)?,
            ("SEARCH", [..]) => self.search(selected, arguments, by_uid)?,
            ("STORE" | "EXPUNGE" | "MOVE", _) if selected.read_only => {
                "NO the folder was opened to be read only".to_owned()
            }
            ("STORE", [set, how, flags @ ..]) => self.store(user, selected, set, how, &flags.join(" "), by_uid)?,
            ("EXPUNGE", []) => {
                self.expunge(user, selected, "1:*");
                "OK done".to_owned()
            }
            ("EXPUNGE", [set]) => {
                self.expunge(user, selected, set);
                "OK done".to_owned()
            }
            ("COPY", [set, folder]) => self.copy(user, selected, set, &folder_name(folder), by_uid),
            ("MOVE", [set, folder]) => self.move_to(user, selected, set, &folder_name(folder), by_uid)?,
            _ => self.any_time(name)?,
        })
    }

    fn fetch(
        &mut self,
        user: &str,
        selected: &mut Selected,
        set: &str,
        items: &str,
        by_uid: bool,
    ) -> io::Result<String> {
        let mut items = match fetch::parse(items) {
            Ok(items) => items,
            Err(unknown) => return Ok(format!("BAD not known here: {unknown}")),
        };
        if by_uid && !items.iter().any(|item| matches!(item, Item::Uid)) {
            items.insert(0, Item::Uid);
        }
        let marks_seen = items.iter().any(|item| matches!(item, Item::Section { marks_seen: true, .. }));
        for (index, number) in selected.find(set, by_uid) {
            let mut parts: Vec<Vec<u8>> = Vec::new();
            if marks_seen && !selected.read_only && !selected.messages[index].has("\\Seen") {
                self.change(user, selected, index, |message| message.set("\\Seen", true));
                if !items.iter().any(|item| matches!(item, Item::Flags)) {
                    parts.push(fetch::answer(&Item::Flags, &selected.messages[index]));
                }
            }
            parts.extend(items.iter().map(|item| fetch::answer(item, &selected.messages[index])));
            let response = [format!("* {number} FETCH (").as_bytes(), &parts.join(&b' '), b")\r\n"].concat();
            self.client.wire.send(response)?;
        }
        Ok("OK done".to_owned())
    }

    fn search(&mut self, selected: &Selected, keys: &[Argument], by_uid: bool) -> io::Result<String> {
        let count = selected.messages.len() as u32;
        let last_uid = selected.messages.last().map_or(0, |last| last.uid);
        let mut found = String::from("* SEARCH");
        for (message, number) in selected.messages.iter().zip(1..) {
            match search::fits(keys, message, &Position { number, count, last_uid }) {
                Some(true) => found += &format!(" {}", if by_uid { message.uid } else { number }),
                Some(false) => {}
                None => return Ok("BAD such a search is not known here".to_owned()),
            }
        }
        self.client.wire.say(found)?;
        Ok("OK done".to_owned())
    }

    fn store(
        &mut self,
        user: &str,
        selected: &mut Selected,
        set: &str,
        how: &str,
        flags: &str,
        by_uid: bool,
    ) -> io::Result<String> {
        let how = how.to_ascii_uppercase();
        let flags: Vec<&str> = flags.split_ascii_whitespace().collect();
        for (index, number) in selected.find(set, by_uid) {
            self.change(user, selected, index, |message| {
                if how.starts_with("FLAGS") {
                    message.flags.clear();
                }
                flags.iter().for_each(|flag| message.set(flag, !how.starts_with('-')));
            });
            if !how.ends_with(".SILENT") {
                let Message { uid, flags, .. } = &selected.messages[index];
                self.client.wire.say(format!("* {number} FETCH (UID {uid} FLAGS ({}))", flags.join(" ")))?;
            }
        }
        Ok("OK done".to_owned())
    }

    /// Changes a message here and in the mailbox.
    fn change(&self, user: &str, selected: &mut Selected, index: usize, change: impl Fn(&mut Message)) {
        let message = &mut selected.messages[index];
        change(message);
        let uid = message.uid;
        self.client.mail.change(user, &selected.folder, |all| {
            all.iter_mut().filter(|one| one.uid == uid).for_each(change);
        });
    }

    /// Removes those of these UIDs that are marked as deleted.
    pub(super) fn expunge(&self, user: &str, selected: &Selected, uids: &str) {
        let highest = selected.messages.last().map_or(0, |last| last.uid);
        let goes = |one: &Message| one.has("\\Deleted") && in_set(uids, one.uid, highest);
        self.client.mail.change(user, &selected.folder, |all| all.retain(|one| !goes(one)));
    }

    fn copy(&self, user: &str, selected: &Selected, set: &str, folder: &str, by_uid: bool) -> String {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (index, _) in selected.find(set, by_uid) {
            let Message { uid, flags, date, bytes } = selected.messages[index].clone();
            match self.client.mail.add(user, folder, flags, date, bytes) {
                Some(copy) => to.push(copy.to_string()),
                None => return "NO [TRYCREATE] no such folder".to_owned(),
            }
            from.push(uid.to_string());
        }
        if from.is_empty() {
            return "OK nothing to copy".to_owned();
        }
        format!("OK [COPYUID {UIDVALIDITY} {} {}] done", from.join(","), to.join(","))
    }

    /// RFC 6851: a copy, told of in a response of its own; the EXPUNGEs follow as ever.
    fn move_to(
        &mut self,
        user: &str,
        selected: &Selected,
        set: &str,
        folder: &str,
        by_uid: bool,
    ) -> io::Result<String> {
        let copied = self.copy(user, selected, set, folder, by_uid);
        if !copied.starts_with("OK") {
            return Ok(copied);
        }
        let gone: Vec<u32> =
            selected.find(set, by_uid).iter().map(|(index, _)| selected.messages[*index].uid).collect();
        self.client.mail.change(user, &selected.folder, |all| all.retain(|one| !gone.contains(&one.uid)));
        self.client.wire.say(format!("* {copied}"))?;
        Ok("OK moved".to_owned())
    }
}
