//! Whatever the order in which things are done.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Keep { owner: u8, folder: u8, message: u8 },
    Send { owner: u8, message: u8, refuse: bool },
    Flag { file: usize },
    Delete { file: usize },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..3_u8, 0..4_u8).prop_map(|(owner, folder, message)| Step::Keep { owner, folder, message }),
        2 => (0..3_u8, 0..4_u8, any::<bool>()).prop_map(|(owner, message, refuse)| Step::Send { owner, message, refuse }),
        1 => any::<usize>().prop_map(|file| Step::Flag { file }),
        1 => any::<usize>().prop_map(|file| Step::Delete { file }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A set of (owner, message) is all that the spool is, whatever mail programs do behind the archive's back.
    #[test]
    fn each_owner_has_each_message_once(steps in proptest::collection::vec(step(), 1..25), names_max in 1..60_usize) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { sync: false, ..settings(dir.path()) };
        let mut spool = Spool { dir, archive: Archive::with_names_max(settings.clone(), names_max) };
        let mut model = std::collections::BTreeSet::new();
        for step in steps {
            let names: Vec<String> = spool.files().into_keys().collect();
            match step {
                Step::Keep { owner, folder, message } => {
                    let folder = ["", "A", "A/B"][usize::from(folder)];
                    let kept = spool.keep(&[to(&format!("{owner}@b"), folder, false)], &[message]);
                    prop_assert_eq!(kept[0].duplicate, !model.insert((owner, message)));
                }
                Step::Send { owner, message, refuse } => {
                    let mut draft = draft(&spool.archive, &[to(&format!("{owner}@b"), "Sent", true)], &[message]);
                    draft.prepare().unwrap();
                    if refuse {
                        draft.discard();
                    } else {
                        prop_assert_eq!(draft.commit().unwrap()[0].duplicate, !model.insert((owner, message)));
                    }
                }
                Step::Flag { file } if !names.is_empty() => {
                    let name = &names[file % names.len()];
                    let flagged = name.replace("/new/", "/cur/").split(':').next().unwrap().to_string();
                    fs::rename(spool.path(name), spool.path(&format!("{flagged}:2,F{}", file % 3))).unwrap();
                }
                Step::Delete { file } if !names.is_empty() => {
                    let name = &names[file % names.len()];
                    let owner = name.as_bytes()[2] - b'0';
                    model.remove(&(owner, spool.files()[name][0]));
                    fs::remove_file(spool.path(name)).unwrap();
                }
                Step::Restart => spool.archive = Archive::with_names_max(settings.clone(), names_max),
                _ => {}
            }
        }
        let found: Vec<(u8, u8)> = spool.files().iter().map(|(name, bytes)| (name.as_bytes()[2] - b'0', bytes[0])).collect();
        prop_assert_eq!(found.len(), model.len());
        prop_assert!(found.iter().all(|pair| model.contains(pair)));
    }
}
