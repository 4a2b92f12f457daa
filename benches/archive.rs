//! What the archive costs beside the calls that it cannot do without: messages a second and octets a second, without sockets and protocols.
//! `cargo bench --bench archive`; `-- keep` for a part.
//!
//! The files lie in the folder for temporary files: `TMPDIR=/dev/shm` shows what the processor does, a disk's file system what it costs there. Criterion tells wall
//! time; on a busy machine look at `perf stat`. Where many files have been deleted a while ago ext4 is slow in making new ones.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use mailstore::archive::{Archive, Destination, Draft, Folder, Owner, Settings, Template};
use tempfile::TempDir;

/// Octets of a small message.
const SMALL: usize = 4 * 1024;
/// As the relay reads while much comes.
const PIECE: usize = 64 * 1024;
/// As many as are settled together.
const BATCH: usize = 64;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for sync in [false, true] {
        small(&mut criterion, sync);
    }
    large(&mut criterion);
    known(&mut criterion);
    criterion.final_summary();
}

/// A spool, and messages that are never the same.
struct Bench {
    dir: TempDir,
    archive: Archive,
    message: Vec<u8>,
    count: u64,
}

impl Bench {
    fn new(sync: bool, size: usize) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let archive = archive(dir.path(), sync);
        let head = b"Received: from a.example by b.example; Tue, 5 Mar 2024 10:20:30 +0000\r\nSubject: bench\r\n\r\n";
        let line = b"Some text that fills a line of seventy-six characters, and again, and again.\r\n";
        let message = head.iter().chain(line.iter().cycle()).copied().take(size).collect();
        Bench { dir, archive, message, count: 0 }
    }

    /// The next message, whole.
    fn draft(&mut self, outgoing: bool) -> Draft {
        self.count += 1;
        let end = self.message.len() - 8;
        self.message[end..].copy_from_slice(&self.count.to_be_bytes());
        let mut draft = self.archive.begin(&[to(outgoing)]).expect("a draft");
        for piece in self.message.chunks(PIECE) {
            draft.append(piece).expect("room");
        }
        draft
    }

    /// As an IMAP FETCH of many, or POP3's one by one: kept and noted.
    fn keep(&mut self, count: usize) {
        let drafts = (0..count).map(|_| self.draft(false)).collect();
        let kept = self.archive.keep_all(drafts).into_iter().map(|kept| kept.expect("kept").remove(0));
        let first = self.count;
        let noted: Vec<_> = (first..).map(|uid| format!("imap.example.com:993 imap INBOX 1 {uid}")).zip(kept).collect();
        assert!(noted.iter().all(|(_, kept)| !kept.duplicate));
        match &noted[..] {
            [(key, kept)] => self.archive.note_soon(key, kept).expect("noted"),
            _ => assert!(self.archive.note(&noted).is_empty()),
        }
    }

    fn send(&mut self) {
        let mut draft = self.draft(true);
        draft.prepare().expect("prepared");
        black_box(draft.commit().expect("committed"));
    }

    /// The same calls and nothing else.
    fn bare(&mut self, sync: bool) {
        self.count += 1;
        let folder = self.dir.path().join("bare");
        let (tmp, new) = (folder.join("tmp"), folder.join("new"));
        if self.count == 1 {
            fs::create_dir_all(&tmp).and_then(|()| fs::create_dir_all(&new)).expect("folders");
        }
        let name = format!("{}.bare", self.count);
        let mut file = File::create_new(tmp.join(&name)).expect("a file");
        file.write_all(&self.message).expect("room");
        if sync {
            file.sync_data().expect("flushed");
        }
        fs::rename(tmp.join(&name), new.join(&name)).expect("renamed");
        if sync {
            File::open(&new).and_then(|dir| dir.sync_all()).expect("flushed");
        }
    }
}

fn archive(dir: &Path, sync: bool) -> Archive {
    let maildir = Template::parse("%d/%n").expect("a template");
    Archive::new(Settings { spool: dir.join("spool"), maildir, sync })
}

fn to(outgoing: bool) -> Destination {
    let folder = Folder::parse(if outgoing { "Sent" } else { "" });
    Destination { owner: Owner::new(b"ann@example.org", ""), folder, outgoing }
}

fn small(criterion: &mut Criterion, sync: bool) {
    let mut group = criterion.benchmark_group(if sync { "4 KiB, sync = yes" } else { "4 KiB, sync = no" });
    group.throughput(Throughput::Elements(1));
    let mut bench = Bench::new(sync, SMALL);
    group.bench_function("the calls alone", |b| b.iter(|| bench.bare(sync)));
    let mut bench = Bench::new(sync, SMALL);
    group.bench_function("kept one by one", |b| b.iter(|| bench.keep(1)));
    let mut bench = Bench::new(sync, SMALL);
    group.bench_function("prepared and committed", |b| b.iter(|| bench.send()));
    let mut bench = Bench::new(sync, SMALL);
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("kept together", |b| b.iter(|| bench.keep(BATCH)));
}

fn large(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("large");
    for mebibytes in [1, 25_usize] {
        let mut bench = Bench::new(false, mebibytes << 20);
        group.throughput(Throughput::Bytes((mebibytes << 20) as u64));
        group.bench_function(BenchmarkId::new("appended and hashed, MiB", mebibytes), |b| {
            // Dropped: the disk need not hold them all.
            b.iter(|| black_box(bench.draft(false)).size());
        });
    }
}

/// What is there already: the same message again, and the first look of a new process through many names.
fn known(criterion: &mut Criterion) {
    const NAMES: u64 = 20_000;
    let mut bench = Bench::new(false, 100);
    for _ in 0..NAMES / BATCH as u64 {
        bench.keep(BATCH);
    }
    let mut group = criterion.benchmark_group("known");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a duplicate", |b| {
        b.iter(|| {
            bench.count = 0;
            let draft = bench.draft(false);
            assert!(bench.archive.keep_all(vec![draft])[0].as_ref().expect("kept")[0].duplicate);
        });
    });
    group.throughput(Throughput::Elements(NAMES));
    group.bench_function("the first look through 20,000 names", |b| {
        b.iter(|| {
            bench.count = 0;
            let draft = {
                bench.archive = archive(bench.dir.path(), false);
                bench.draft(false)
            };
            assert!(bench.archive.keep_all(vec![draft])[0].as_ref().expect("kept")[0].duplicate);
        });
    });
}
