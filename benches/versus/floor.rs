//! What the machine itself takes: a hash, a file, and a file that is on disk for certain. The goals are set against these.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use crate::Outcome;
use crate::load::Sample;
use crate::measure::{Figures, HASHING};
use crate::message::Template;
use crate::rows::{KIB, MIB};

/// CPU time of this thread, s.
fn spent() -> Outcome<f64> {
    Ok(std::time::Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?).as_secs_f64())
}

/// CPU s a GB of SHA-256, as MailStore does it.
pub(crate) fn hashing(megabytes: usize) -> Outcome<f64> {
    hashing_by(megabytes, &|block| openssl::sha::sha256(block)[0])
}

fn hashing_by(megabytes: usize, one: &dyn Fn(&[u8]) -> u8) -> Outcome<f64> {
    let mut block = Template::new(MIB, b"");
    let begun = spent()?;
    let sum = (0..megabytes).map(|_| u64::from(one(block.next(b"")))).sum::<u64>();
    std::hint::black_box(sum);
    Ok((spent()? - begun) * 1e9 / (megabytes * MIB) as f64)
}

/// The cost of SHA-256 in two libraries, and of a file of 4 KiB.
pub(crate) fn machine(dir: &Path, megabytes: usize) -> Outcome<[(&'static str, Figures); 3]> {
    let openssl = hashing(megabytes)?;
    let sha2 = hashing_by(megabytes, &|block| Sha256::digest(block)[0])?;

    let maildir = Maildir::new(dir)?;
    let mut message = Template::new(4 * KIB, b"");
    let count = megabytes * 10;
    let begun = spent()?;
    (0..count).try_for_each(|n| maildir.keep(n, message.next(b""), false))?;
    let file = (spent()? - begun) * 1e6 / count as f64;
    Ok([
        ("SHA-256 (OpenSSL)", Figures::from([(HASHING, openssl)])),
        ("SHA-256 (sha2)", Figures::from([(HASHING, sha2)])),
        ("a 4 KiB file", Figures::from([("file_us", file)])),
    ])
}

/// Files that are durable, by as many threads as there are clients, each in a Maildir of its own; with their hashes where they are asked for.
pub(crate) fn durable(dir: &Path, threads: usize, size: usize, count: usize, hash: bool) -> Outcome<Sample> {
    // All threads and this one.
    let (ready, done) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|n| {
                let (ready, done) = (&ready, &done);
                scope.spawn(move || -> Outcome<f64> {
                    let maildir = Maildir::new(&dir.join(format!("thread-{n}")));
                    let mut message = Template::new(size, b"");
                    ready.wait();
                    let begun = spent();
                    let kept = maildir.and_then(|maildir| {
                        (0..count).try_for_each(|n| {
                            let message = message.next(b"");
                            if hash {
                                std::hint::black_box(openssl::sha::sha256(message));
                            }
                            maildir.keep(n, message, true)
                        })
                    });
                    done.wait();
                    kept?;
                    Ok(spent()? - begun?)
                })
            })
            .collect();
        ready.wait();
        let begun = Instant::now();
        done.wait();
        let wall_s = begun.elapsed().as_secs_f64();
        let mut cpu_s = 0.0;
        for writer in writers {
            cpu_s += writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(Sample { messages: threads * count, octets: threads * count * size, wall_s, cpu_s })
    })
}

struct Maildir {
    dir: std::path::PathBuf,
    new: File,
    run: u128,
}

impl Maildir {
    fn new(dir: &Path) -> Outcome<Maildir> {
        for sub in ["tmp", "new"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
        Ok(Maildir { dir: dir.to_owned(), new: File::open(dir.join("new"))?, run })
    }

    fn keep(&self, number: usize, message: &[u8], sync: bool) -> Outcome<()> {
        let name = format!("{}.{number}", self.run);
        let mut file = File::create_new(self.dir.join("tmp").join(&name))?;
        file.write_all(message)?;
        if sync {
            file.sync_data()?;
        }
        fs::rename(self.dir.join("tmp").join(&name), self.dir.join("new").join(&name))?;
        if sync {
            nix::unistd::fsync(self.new.as_fd()).map_err(io::Error::from)?;
        }
        Ok(())
    }
}
