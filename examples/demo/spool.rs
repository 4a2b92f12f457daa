//! What lies in the spool: read, shown as a tree, and proven.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::stage::{Context, Result};

/// The README is run, not copied.
const README: &str = include_str!("../../README.md");

/// A kept message.
pub(crate) struct Kept {
    /// `user@domain`.
    pub(crate) owner: String,
    /// The Maildir++ folder without its leading dot; empty for the inbox.
    pub(crate) folder: String,
    /// `new` or `cur`.
    place: &'static str,
    name: String,
    pub(crate) bytes: Vec<u8>,
}

/// All messages of a spool with `maildir = %d/%n`, in a fixed order.
pub(crate) fn read(spool: &Path) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    let folders = |dir: &Path| entries(dir).map(|all| all.into_iter().filter(|entry| entry.is_dir()));
    for domain in folders(spool)? {
        for maildir in folders(&domain)? {
            let owner = format!("{}@{}", name(&maildir), name(&domain));
            let subfolders = folders(&maildir)?.filter(|entry| name(entry).starts_with('.'));
            for folder in [maildir.clone()].into_iter().chain(subfolders) {
                let short = if folder == maildir { String::new() } else { name(&folder)[1..].to_owned() };
                for place in ["new", "cur"] {
                    for file in entries(&folder.join(place))? {
                        let bytes = fs::read(&file).when(format_args!("reading {}", file.display()))?;
                        all.push(Kept { owner: owner.clone(), folder: short.clone(), place, name: name(&file), bytes });
                    }
                }
            }
        }
    }
    Ok(all)
}

/// Owner, folder, and each file's name (its hash cut short) and size.
pub(crate) fn tree(kept: &[Kept]) -> String {
    let mut owners: BTreeMap<&str, BTreeMap<String, Vec<&Kept>>> = BTreeMap::new();
    for one in kept {
        let folder =
            if one.folder.is_empty() { one.place.to_owned() } else { format!(".{}/{}", one.folder, one.place) };
        owners.entry(&one.owner).or_default().entry(folder).or_default().push(one);
    }
    let mut text = String::new();
    for (owner, folders) in owners {
        let (user, domain) = owner.split_once('@').unwrap_or((owner, ""));
        text += &format!("   mailSpool/{domain}/{user}/\n");
        for (folder, messages) in folders {
            text += &format!("      {folder}/\n");
            for one in messages {
                text += &format!("         {:>6} bytes  {}\n", one.bytes.len(), one.short_name());
            }
        }
    }
    text
}

impl Kept {
    /// The folder as people call it.
    pub(crate) fn folder_name(&self) -> &str {
        if self.folder.is_empty() { "INBOX" } else { &self.folder }
    }

    /// Compares the file with its name: size (`S=`) and SHA-256 (`H=`). Gives the hash.
    pub(crate) fn prove(&self) -> Result<String> {
        let fields: Vec<&str> = self.name.split([',', ':']).collect();
        let field = |key: &str| fields.iter().find_map(|field| field.strip_prefix(key)).unwrap_or_default();
        let hash: String = Sha256::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let size = self.bytes.len().to_string();
        if (field("S="), field("H=")) == (&size, &hash) {
            return Ok(hash);
        }
        Err(format!("{} holds {size} bytes with the SHA-256 {hash}: not what its name says", self.name))
    }

    fn short_name(&self) -> String {
        match self.name.split_once(",H=") {
            Some((start, hash)) if hash.len() > 64 && hash.is_ascii() => {
                format!("{start},H={}...{}", &hash[..8], &hash[64..])
            }
            Some((start, hash)) if hash.is_ascii() => format!("{start},H={}...", &hash[..hash.len().min(8)]),
            _ => self.name.clone(),
        }
    }
}

/// Runs the command that README.md gives for proving a copy, in the folder that holds `mailSpool`. Gives the command.
pub(crate) fn prove_by_readme(folder: &Path) -> Result<String> {
    let start = README.find("find mailSpool").ok_or("README.md has no command that begins with `find mailSpool`")?;
    let command = README[start..].split("\n\n").next().unwrap_or_default();
    let command = command.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(folder).stdin(Stdio::null());
    let output = shell.output().when("running sh")?;
    if output.status.success() && output.stdout.is_empty() {
        return Ok(command);
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("the command ended with {}: {}\n{command}", output.status, String::from_utf8_lossy(&said)))
}

/// What lies in a folder, by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading the folder {}", dir.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).when(context())? {
        entries.push(entry.when(context())?.path());
    }
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
