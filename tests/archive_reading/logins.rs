//! Who gets in: the files of passwords, and the real server.

use super::*;

super::for_both_versions!(
    logins_by_hand_and_learnt_are_read_by_dovecots_own_user,
    the_real_server_may_be_asked,
    no_other_server_is_asked,
);

/// The rights of a running process: its user, and all of its groups, by number.
fn identity(pid: u32) -> (String, Vec<String>) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> Vec<String> {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    (field("Uid:")[1].clone(), field("Groups:"))
}

fn logins_by_hand_and_learnt_are_read_by_dovecots_own_user(version: Version) {
    let lab = Lab::new();
    let archive = Archive::new(&lab, "learn_logins = logins/passwd\n");
    for name in ["joe", "kim"] {
        archive.put(&format!("example.com/{name}"), "", &message(name), "");
    }
    let mail = nix::unistd::User::from_name(&mail_names().0).unwrap().unwrap();
    let dovecot = archive.start(version, &lab, &[]);
    // Neither file is there yet: nobody gets in, and the first line counts without a restart.
    let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), JOE, ARCHIVE_PASSWORD);
    assert!(said.contains(" NO "), "{said}");
    archive.add(JOE);
    let logins = archive.dir.join("logins");
    fs::create_dir(&logins).unwrap();
    fs::set_permissions(&logins, fs::Permissions::from_mode(0o750)).unwrap();
    let learnt = logins.join("passwd");
    fs::write(&learnt, archive.line("kim@example.com", "kim's own")).unwrap();
    fs::set_permissions(&learnt, fs::Permissions::from_mode(0o640)).unwrap();
    for path in [&logins, &learnt] {
        owned(path);
    }
    let tries = |user: &str, password: &str| try_log_in(&mut Wire::connect(&lab, at(&dovecot)), user, password);
    // Dovecot looks at its files once a second.
    let gets_in = |user: &str, password: &str| {
        wait_until(&format!("{user} gets in with {password}"), START, || tries(user, password).contains(" OK "));
    };
    let is_out = |user: &str, password: &str| {
        wait_until(&format!("{user} does not get in with {password}"), START, || {
            tries(user, password).contains(" NO ")
        });
    };
    gets_in("kim@example.com", "kim's own");
    gets_in(JOE, ARCHIVE_PASSWORD);
    for (user, password) in
        [(JOE, "kim's own"), ("kim@example.com", ARCHIVE_PASSWORD), (JOE, ""), ("ann@example.com", ARCHIVE_PASSWORD)]
    {
        assert!(tries(user, password).contains(" NO "), "{user} {password}");
    }
    // A new password counts, however fast one comes after the other, and who is removed is out.
    let ini = archive.ini().display().to_string();
    for password in ["another", "and one"] {
        let add = ["add", JOE, "-c", &ini, "--password-fd", "0"];
        run_with_input(&script("archive-user"), &add, format!("{password}\n").as_bytes(), lab.path()).ok();
        gets_in(JOE, password);
    }
    is_out(JOE, "another");
    is_out(JOE, ARCHIVE_PASSWORD);
    run(&script("archive-user"), &["remove", JOE, "-c", &ini]).ok();
    is_out(JOE, "and one");
    if is_root() {
        // The files are nobody's to read but root's, MailStore's, and their group's, which Dovecot's logins have for that.
        let (user, groups) = identity(dovecot.process("dovecot/auth"));
        let dovecots = nix::unistd::User::from_name("dovecot").unwrap().unwrap();
        assert_eq!(user, dovecots.uid.to_string());
        assert!(groups.contains(&mail.gid.to_string()), "{groups:?}");
        let users = fs::metadata(archive.dir.join("archive-users")).unwrap();
        assert_eq!((users.mode() & 0o777, users.uid(), users.gid()), (0o640, 0, mail.gid.as_raw()));
    }
}

/// A second Dovecot, over another spool, whose passwords are its own: the real server. And an archive where Kim logs in by hand only.
fn with_provider(lab: &Lab) -> (Archive, Archive) {
    let elsewhere = filled(lab, "default_domain = example.com\n");
    elsewhere.add(JOE);
    elsewhere.put("example.com/ann", "", &message("at the provider's"), "");
    elsewhere.add("ann@example.com");
    let archive = filled(lab, "default_domain = example.com\n");
    archive.put("example.com/kim", "", &message("kim"), "");
    archive.add("kim@example.com");
    (elsewhere, archive)
}

fn the_real_server_may_be_asked(version: Version) {
    let lab = Lab::new();
    let (elsewhere, archive) = with_provider(&lab);
    let provider = elsewhere.start(version, &lab, &[]);
    let ca = format!("upstream_ca = {}\n", lab.ca().display());
    for (upstream, names) in [
        (format!("upstream = localhost:{}\n{ca}", provider.port), &[JOE, "joe", "Joe@Example.com"][..]),
        (format!("upstream = localhost:{}\nupstream_tls = starttls\n{ca}", provider.starttls_port), &[JOE]),
        (format!("upstream = localhost:{}\nupstream_tls = none\n", provider.starttls_port), &[JOE]),
    ] {
        archive.configure(&lab, "default_domain = example.com\n", &upstream);
        let dovecot = archive.start(version, &lab, &["--logins", "hand,origin"]);
        log_in(&mut Wire::connect(&lab, at(&dovecot)), "kim@example.com", ARCHIVE_PASSWORD);
        for name in names {
            let mut wire = Wire::connect(&lab, at(&dovecot));
            log_in(&mut wire, name, ARCHIVE_PASSWORD);
            assert!(folders(&mut wire, "LIST \"\" *").contains("Work.Reports"));
        }
        let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), JOE, "wrong");
        assert!(said.contains(" NO "), "{upstream}: {said}");
        // Whom the server knows, and of whom nothing is kept, gets in nowhere.
        let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), "ann@example.com", ARCHIVE_PASSWORD);
        assert!(said.starts_with("* BYE Nothing is kept"), "{said}");
        assert!(!archive.spool().join("example.com/ann").exists());
        assert!(!dovecot.log().contains(ARCHIVE_PASSWORD), "the password is in the log");
    }
}

/// Nothing is asked whose certificate is not right, nor what is not there: then nobody gets in by this way, all others do.
fn no_other_server_is_asked(version: Version) {
    let lab = Lab::new();
    let (elsewhere, archive) = with_provider(&lab);
    let start = |pair: Certificate| {
        let files = [pair.chain, pair.key].map(|file| file.display().to_string());
        elsewhere.start(version, &lab, &["--certificate", &files[0], "--private-key", &files[1]])
    };
    let [good, wrong_name, unknown] = [lab.certificate(), lab.wrong_name(), lab.self_signed()].map(start);
    let [nobody] = support::lab::free_ports();
    let ca = format!("upstream_ca = {}\n", lab.ca().display());
    for (upstream, asked) in [
        (format!("upstream = localhost:{}\n{ca}", wrong_name.port), Some(&wrong_name)),
        (format!("upstream = localhost:{}\n{ca}", unknown.port), Some(&unknown)),
        // The system's authorities did not sign it.
        (format!("upstream = localhost:{}\n", good.port), Some(&good)),
        (format!("upstream = localhost:{nobody}\n{ca}"), None),
    ] {
        archive.configure(&lab, "default_domain = example.com\n", &upstream);
        let dovecot = archive.start(version, &lab, &["--logins", "hand,origin"]);
        log_in(&mut Wire::connect(&lab, at(&dovecot)), "kim@example.com", ARCHIVE_PASSWORD);
        let said = try_log_in(&mut Wire::connect(&lab, at(&dovecot)), JOE, ARCHIVE_PASSWORD);
        assert!(said.contains(" NO "), "{upstream}: {said}");
        if let Some(server) = asked {
            assert!(
                !server.log().contains("user=<joe"),
                "a server with a wrong certificate heard of Joe:\n{}",
                server.log()
            );
        }
    }
}
