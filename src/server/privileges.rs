//! What the process may do: file descriptors, the mode of new files, no root any longer than needed, and no way for its memory into a file.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Group, Uid, User, chown, getegid, geteuid, getgroups, getuid, initgroups, setegid, seteuid, setgid, setgroups,
    setuid,
};

use crate::config::Shared;

/// File descriptors besides those of sessions: listeners, clients that are being refused, and what a session needs for a moment.
const FILES_BESIDES: u64 = 64;
/// Of one session: two sockets and a draft.
const FILES_A_SESSION: u64 = 3;

/// For good, and before any thread is started: no core dump, no debugger but root's, and no more rights than there are. The passwords of those who log
/// in pass through the memory. What the system does not allow is logged.
pub fn confine() {
    let tell = |what: &'static str| move |e: nix::Error| log::warn!("{what} cannot be turned off: {e}");
    // A core_pattern that names a program does not ask for the limit.
    let undumpable = prctl::set_dumpable(false);
    let no_core = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = undumpable.and(no_core).map_err(tell("core dumps"));
    let _ = prctl::set_no_new_privs().map_err(tell("gaining rights by programs that are set-uid"));
}

/// As many open files as the hard limit allows; new files are for the owner only.
pub(super) fn prepare(shared: &Shared) {
    umask(Mode::from_bits_truncate(0o077));
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => {
            let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
            let (room, max_sessions) = (sessions_with(limit), shared.max_sessions);
            if room < max_sessions {
                log::warn!(
                    "{limit} files may be open at once: enough for {room} sessions, not for max_sessions = {max_sessions}; raise ulimit -n (LimitNOFILE=)"
                );
            }
        }
        Err(e) => log::warn!("the limit of open files cannot be read: {e}"),
    }
}

/// How many sessions have all the files that they need: one more could take from an open one the file for its message. Read each time: the limit
/// can be changed from outside (prlimit).
pub(super) fn sessions_with_files() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(usize::MAX, |(soft, _)| sessions_with(soft))
}

fn sessions_with(files: u64) -> usize {
    let besides = FILES_BESIDES.min(files / 2);
    usize::try_from((files - besides) / FILES_A_SESSION).unwrap_or(usize::MAX).max(1)
}

/// Becomes `user` and `group`, for good. Before any thread is started. Nothing is done where none is named, or where the program was
/// not started as root (which is told, unless it is that user already).
///
/// # Errors
/// The key at fault, and why.
pub(super) fn drop_root(shared: &Shared) -> Result<(), (&'static str, String)> {
    let Some((uid, gid)) = new_identity(shared)? else {
        if geteuid().is_root() {
            log::warn!("runs as root, for no user is named in the configuration");
        }
        return Ok(());
    };
    make_spool(&shared.spool, uid, gid).map_err(|e| unmade(shared, &e))?;
    join_groups(uid, gid)?;
    setgid(gid).map_err(failed("setgid"))?;
    setuid(uid).map_err(failed("setuid"))?;
    let changed = getuid() == uid && geteuid() == uid && getegid() == gid;
    if !changed || (!uid.is_root() && setuid(Uid::from_raw(0)).is_ok()) {
        return Err(("user", "root could not be given up".to_owned()));
    }
    if uid.is_root() {
        log::warn!("runs as root, for the user in the configuration is root");
    }
    // Another user means another setting of that.
    prctl::set_dumpable(false).map_err(failed("turning core dumps off"))
}

/// Does something as `user` and `group`, with the spool made as [`drop_root`] makes it; then becomes root again and removes what was
/// made. Before any thread is started.
///
/// # Errors
/// As [`drop_root`].
pub(super) fn try_as_user<T>(shared: &Shared, trial: impl FnOnce() -> T) -> Result<T, (&'static str, String)> {
    let Some((uid, gid)) = new_identity(shared)? else { return Ok(trial()) };
    let (root, groups) = (getegid(), getgroups().map_err(failed("getgroups"))?);
    let made = make_spool(&shared.spool, uid, gid).map_err(|e| unmade(shared, &e))?;
    let changed = join_groups(uid, gid)
        .and_then(|()| setegid(gid).map_err(failed("setgid")))
        .and_then(|()| seteuid(uid).map_err(failed("setuid")));
    let result = changed.map(|()| trial());
    let back = seteuid(Uid::from_raw(0)).and_then(|()| setegid(root)).and_then(|()| setgroups(&groups));
    remove(&made);
    back.map_err(failed("becoming root again"))?;
    result
}

fn failed(step: &'static str) -> impl FnOnce(nix::Error) -> (&'static str, String) {
    move |e| ("user", format!("{step} failed: {e}"))
}

fn unmade(shared: &Shared, e: &io::Error) -> (&'static str, String) {
    ("spool", format!("{} cannot be made: {e}", shared.spool.display()))
}

fn join_groups(uid: Uid, gid: Gid) -> Result<(), (&'static str, String)> {
    match User::from_uid(uid) {
        Ok(Some(user)) => {
            let name = std::ffi::CString::new(user.name).map_err(|e| ("user", e.to_string()))?;
            initgroups(&name, gid).map_err(failed("initgroups"))
        }
        _ => setgroups(&[gid]).map_err(failed("setgroups")),
    }
}

/// Whom to become, where that can be done.
fn new_identity(shared: &Shared) -> Result<Option<(Uid, Gid)>, (&'static str, String)> {
    let Some((uid, gid)) = identity(shared)? else { return Ok(None) };
    if geteuid().is_root() {
        return Ok(Some((uid, gid)));
    }
    if geteuid() != uid || getegid() != gid {
        log::warn!("not started as root: user and group of the configuration are not applied");
    }
    Ok(None)
}

/// Whom to become. A `user` alone brings his own group.
fn identity(shared: &Shared) -> Result<Option<(Uid, Gid)>, (&'static str, String)> {
    let group = match &shared.group {
        None => None,
        Some(name) => match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid),
            Ok(None) => return Err(("group", format!("there is no group {name}"))),
            Err(e) => return Err(("group", format!("{name} cannot be looked up: {e}"))),
        },
    };
    match &shared.user {
        None => Ok(group.map(|gid| (geteuid(), gid))),
        Some(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(Some((user.uid, group.unwrap_or(user.gid)))),
            Ok(None) => Err(("user", format!("there is no user {name}"))),
            Err(e) => Err(("user", format!("{name} cannot be looked up: {e}"))),
        },
    }
}

/// A spool that is not there yet is made while there is the right to, and given to whom it is for. Folders above it that are missing
/// stay root's, and can be passed through. Returns what was made, outermost first; nothing stays where it fails.
fn make_spool(spool: &Path, uid: Uid, gid: Gid) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> =
        spool.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    let mut made = Vec::new();
    for dir in missing.into_iter().rev() {
        let mode = if dir == spool { 0o700 } else { 0o755 };
        let result = fs::create_dir(dir).and_then(|()| {
            made.push(dir.to_path_buf());
            // Not by the mode of mkdir: the umask would have its way.
            fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
            if dir == spool { Ok(chown(dir, Some(uid), Some(gid))?) } else { Ok(()) }
        });
        if let Err(e) = result {
            remove(&made);
            return Err(e);
        }
    }
    Ok(made)
}

fn remove(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        // Somebody may have begun to use it.
        let _ = fs::remove_dir(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::getegid;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_missing_spool_is_made_and_a_present_one_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("deep/spool");
        let make = || make_spool(&spool, geteuid(), getegid());
        make().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&dir.path().join("deep")), mode(&spool)), (0o755, 0o700));
        fs::set_permissions(&spool, fs::Permissions::from_mode(0o750)).unwrap();
        make().unwrap();
        assert_eq!(mode(&spool), 0o750);
    }
}
