//! What `scripts/dovecot-archive` makes of its options, and what it refuses.

use super::*;

super::for_both_versions!(written_into_a_folder,);

fn written_into_a_folder(version: Version) {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    archive.add(JOE);
    let etc = lab.path().join("etc");
    let into = |more: &[&str]| archive.script(version, &[&["--into", etc.to_str().unwrap()], more].concat());
    let names = || -> Vec<String> {
        entries(&etc)
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let written = into(&[]).ok().text();
    let expected: &[&str] = if version == Version::V23 {
        &["dovecot.conf", "mailstore-acl", "mailstore-login"]
    } else {
        &["dovecot.conf", "mailstore-login"]
    };
    assert_eq!(names(), expected);
    assert_eq!(written.lines().count(), expected.len());
    for name in expected {
        let mode = fs::metadata(etc.join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode, if *name == "mailstore-login" { 0o755 } else { 0o644 }, "{name}");
    }
    // The folder for Dovecot's lists, which its user could not make everywhere.
    let lists = fs::metadata(archive.dir.join("dovecot"));
    if is_root() {
        assert_eq!(lists.unwrap().mode() & 0o777, 0o700);
    }
    // Once more: nothing is in the way. What somebody has changed stays, and so does all beside it.
    into(&[]).ok();
    let conf = etc.join("dovecot.conf");
    let mine = fs::read_to_string(&conf).unwrap() + "mail_debug = yes\n";
    fs::write(&conf, &mine).unwrap();
    fs::remove_file(etc.join("mailstore-login")).unwrap();
    let refused = into(&[]);
    assert!(
        refused.code == Some(1) && refused.errors().contains("dovecot.conf is there and says something else"),
        "{}",
        refused.errors()
    );
    assert!(fs::read_to_string(&conf).unwrap() == mine && !etc.join("mailstore-login").exists());
    into(&["--force"]).ok();
    assert_eq!(names(), expected);

    let dovecot = Configured::start_as(version, &lab, |[port, starttls]| {
        into(&["--force", "--port", &port.to_string(), "--starttls-port", &starttls.to_string()]).ok();
        fs::read_to_string(&conf).unwrap()
    });
    let mut wire = read(&lab, &dovecot, JOE);
    assert!(folders(&mut wire, "LSUB \"\" *").contains("Work.Reports"));
    assert!(text(&wire.imap("CREATE Mine")).contains("NO [NOPERM]"));
    if version == Version::V23 {
        // Without the file of rights there are none, and not all.
        fs::remove_file(etc.join("mailstore-acl")).unwrap();
        let mut wire = read(&lab, &dovecot, JOE);
        for command in ["CREATE Mine", "DELETE Work.Reports", "SELECT INBOX"] {
            assert!(text(&wire.imap(command)).lines().last().unwrap().contains(" NO "), "{command}");
        }
    }
}

#[test]
fn what_cannot_be_set_up_is_told() {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    let (certificate, dir) = (lab.certificate(), archive.dir.display().to_string());
    let good = format!(
        "[mailstore]\nspool = mailSpool\n{}[imap]\nlisten = 127.0.0.1:9143\nlisten_tls = starttls\ncertificate = {}\nprivate_key = {}\n\
         upstream = localhost:993\n",
        if is_root() { format!("user = {}\n", mail_names().0) } else { String::new() },
        certificate.chain.display(),
        certificate.key.display()
    );
    let second = format!("{good}[imap:b]\nlisten = 127.0.0.1:1144\nupstream = localhost:994\n");
    let without_tls = "[mailstore]\n[pop3]\nlisten = 127.0.0.1:1110\nupstream = localhost:995\n".to_owned();
    let broken = ["/no/such/cert.pem", certificate.key.to_str().unwrap()];
    for (ini, args, code, told) in [
        (&good, &["--frob"][..], 2, "unrecognized arguments: --frob"),
        (&good, &["--dovecot", "2.2"], 2, "invalid choice: '2.2'"),
        (&good, &["--port", "99999"], 2, "--port"),
        (&good, &["--port", "0", "--starttls-port", "0"], 2, "nothing to connect to"),
        (&good, &["--port", "5", "--starttls-port", "5"], 2, "the same"),
        (&good, &["--listen", "localhost"], 2, "is no address"),
        (&good, &["--logins", "hand,magic"], 2, "--logins"),
        (&good, &["--origin", "imap"], 2, "--origin without"),
        (&good, &["--certificate", "x"], 2, "come together"),
        (
            &good,
            &["--certificate", broken[0], "--private-key", broken[1]],
            1,
            "/no/such/cert.pem: there is no such file",
        ),
        (&good, &["--starttls-port", "9143"], 1, "port 9143 is that of [imap]"),
        (&good, &["--starttls-port", "9143", "--listen", "::1"], 0, ""),
        (&good, &["--logins", "learnt"], 1, "has no learn_logins"),
        (&good, &["--indexes", &format!("{dir}/mailSpool/x")], 1, "is in the spool"),
        (&good, &["--indexes", "/var/lib/two words"], 1, "cannot stand in Dovecot's configuration"),
        (&good.replace("mailSpool", "my mail"), &[], 1, "cannot stand in Dovecot's configuration"),
        (&good.replace("[imap]", "maildir = %d:%n/@\n[imap]"), &[], 1, "cannot stand in Dovecot's configuration"),
        (&good.replace("[imap]", "[pop3]"), &["--logins", "origin"], 1, "has no [imap]"),
        (&second, &["--logins", "origin"], 1, "has several IMAP servers"),
        (&second, &["--logins", "origin", "--origin", "imap:c"], 1, "has no [imap:c]; there is [imap], [imap:b]"),
        (&second, &["--logins", "origin", "--origin", "imap:b"], 0, ""),
        (&without_tls, &[], 1, "no proxy in"),
        (&good.replace("user = ", "user = no-such-user-"), &[], if is_root() { 1 } else { 0 }, ""),
        (&good.replace("user = nobody", "user = root"), &[], if is_root() { 1 } else { 0 }, ""),
    ] {
        fs::write(archive.ini(), ini).unwrap();
        let said = archive.script(Version::V23, args);
        assert!(
            said.code == Some(code) && said.errors().contains(told),
            "{args:?} in\n{ini}: {:?} {}",
            said.code,
            said.errors()
        );
        assert_eq!(said.stdout.is_empty(), code != 0, "{args:?}");
        assert!(!said.errors().contains("Traceback"), "{}", said.errors());
    }
    // It is told whose the mail is, where that is somebody else than mailstore.ini says.
    if is_root() {
        fs::write(archive.ini(), good.replace("user = nobody", "user = mail")).unwrap();
        let said = archive.script(Version::V23, &[]).ok().errors();
        assert!(
            said.contains("belongs to user number 65534, and not to mail") && said.contains("chown -R mail "),
            "{said}"
        );
        fs::remove_dir_all(archive.spool()).unwrap();
        fs::create_dir(archive.spool()).unwrap();
        owned(&archive.spool());
    }
    // No user is named: the owner of the spool it is. Where that cannot tell, or is root, it is said.
    if is_root() {
        let ini = good.replace(&format!("user = {}\n", mail_names().0), "");
        fs::write(archive.ini(), &ini).unwrap();
        assert!(archive.script(Version::V23, &[]).ok().text().contains(&format!("args = uid={} ", mail_names().0)));
        for (spool, told) in [
            ("/etc", "belongs to root"),
            ("/etc", "and give him the spool: chown -R mailstore: /etc\n"),
            ("/no/such/spool", "cannot tell whose"),
        ] {
            fs::write(archive.ini(), ini.replace("spool = mailSpool", &format!("spool = {spool}"))).unwrap();
            let said = archive.script(Version::V23, &[]);
            assert!(said.code == Some(1) && said.errors().contains(told), "{}", said.errors());
        }
    }
    let help = run(&script("dovecot-archive"), &["--help"]).ok().text();
    assert!(help.contains("examples:") && help.contains("exit status:"), "{help}");
}

/// The version is that of the Dovecot that is there.
#[test]
fn the_installed_version_is_taken() {
    let lab = Lab::new();
    let archive = filled(&lab, "");
    let ini = archive.ini().display().to_string();
    let said = run(&script("dovecot-archive"), &["-c", &ini]).ok().text();
    let version = run("dovecot", &["--version"]).ok().text();
    assert!(said.starts_with(&format!("# Dovecot {} ", &version[..3])), "{version}");
    // The file may also be named alone.
    assert_eq!(run(&script("dovecot-archive"), &[&ini]).ok().text(), said);
    if !is_root() {
        return eprintln!("skipped: only root can take Dovecot away for one program");
    }
    let dovecot = support::lab::program("dovecot");
    for (instead, told) in [("/dev/null", "there is no Dovecot here"), ("/bin/echo", "this knows 2.3 and 2.4")] {
        let run_without = format!("mount --bind {instead} {}; exec \"$@\"", dovecot.display());
        let script = script("dovecot-archive");
        let said = run("unshare", &["-m", "sh", "-c", &run_without, "sh", &script, "-c", &ini]);
        assert!(said.code == Some(1) && said.errors().contains(told), "{}", said.errors());
    }
}

/// Where Dovecot's user cannot read what came with the script, the configuration does not refer to it.
#[test]
fn what_dovecot_could_not_read_is_not_referred_to() {
    if !is_root() {
        return eprintln!("skipped: only root has files that another user's Dovecot cannot read");
    }
    let lab = Lab::new();
    let archive = filled(&lab, "");
    let copy = lab.folder("root");
    run("cp", &["-r", &script("dovecot-archive"), &script("lib"), copy.to_str().unwrap()]).ok();
    let program = copy.join("dovecot-archive").display().to_string();
    let ini = archive.ini().display().to_string();
    let args = [&program, "-c", &ini, "--dovecot", "2.3"];
    assert!(
        run("/usr/bin/python3", &args)
            .ok()
            .text()
            .contains(&format!("acl = vfile:{}/lib/dovecot/archive-acl\n", copy.display()))
    );
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    let said = run("/usr/bin/python3", &args);
    assert!(
        said.code == Some(1) && said.stdout.is_empty() && said.errors().contains("--into DIR"),
        "{}",
        said.errors()
    );
    let etc = lab.path().join("etc").display().to_string();
    run("/usr/bin/python3", &[&args[..], &["--into", &etc]].concat()).ok();
    assert!(!fs::read_to_string(format!("{etc}/dovecot.conf")).unwrap().contains(copy.to_str().unwrap()));
}
