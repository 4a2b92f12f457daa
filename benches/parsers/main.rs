//! What the protocols cost, without sockets and disk: octets (or commands, or messages) a second through each of them, with a host that does
//! nothing. "copy" is what one copy of the same octets costs. `cargo bench --bench parsers`; a part of a name chooses among them.
//!
//! Instructions, which no other load on the machine changes, of one round of what is chosen:
//!
//! ```sh
//! valgrind --tool=callgrind --toggle-collect='parsers::session::measured' target/release/deps/parsers-… --bench --test 'POP3/RETR 4 KiB'
//! ```

mod host;
mod imap;
mod pop3;
mod session;
mod smtp;

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zeroizing_alloc::ZeroAlloc;

/// As in the program: what is allocated there is paid for here.
#[global_allocator]
static OVERWRITING: ZeroAlloc<System> = ZeroAlloc(System);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Octets that the protocol is given at once.
const PIECES: [usize; 3] = [4 * KIB, 16 * KIB, 64 * KIB];
/// A usual piece.
const PIECE: usize = 16 * KIB;

fn copy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    let (message, mut queue) = (session::message(MIB), vec![0; PIECE]);
    group.throughput(Throughput::Bytes(MIB as u64));
    group.bench_function("1 MiB", |bencher| {
        bencher.iter(|| {
            for piece in message.chunks(PIECE) {
                queue[..piece.len()].copy_from_slice(piece);
                black_box(&mut queue);
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    // There are many, and each is steady.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = copy, pop3::benches, imap::benches, smtp::benches
}
criterion_main!(benches);
