//! A host that does nothing but watch that what is measured happens.

use std::hint::black_box;

use mailstore::archive::{Destination, Owner};
use mailstore::protocol::{DraftId, End, Host, Origin, Refused, Side};

#[derive(Default)]
pub(crate) struct Null {
    /// Octets of all drafts.
    pub(crate) appended: u64,
    begun: u32,
    /// Drafts that were committed, finished or aborted.
    over: u32,
    finished: bool,
}

impl Null {
    pub(crate) fn drafts_left(&self) -> u32 {
        assert!(!self.finished, "a message was not settled");
        self.begun - self.over
    }
}

impl Host for Null {
    fn send(&mut self, to: Side, bytes: &[u8]) {
        black_box((to, bytes));
    }

    fn start_tls(&mut self, _: Side) {}

    fn end(&mut self, end: End) {
        panic!("{end:?}");
    }

    fn logged_in(&mut self, _: &Owner) {}

    fn login_failed(&mut self, why: &str) {
        panic!("{why}");
    }

    fn logged_out(&mut self) {}

    fn about(&mut self, message: &str) {
        black_box(message);
    }

    fn begin(&mut self, to: &[Destination], _: Option<u64>) -> Result<DraftId, Refused> {
        black_box(to);
        self.begun += 1;
        Ok(DraftId(self.begun))
    }

    fn append(&mut self, _: DraftId, bytes: &[u8]) -> Result<(), Refused> {
        self.appended += bytes.len() as u64;
        Ok(())
    }

    fn append_draft(&mut self, _: DraftId, _: DraftId) -> Result<(), Refused> {
        self.over += 1;
        Ok(())
    }

    fn date(&mut self, _: DraftId, _: i64) {}

    fn origin(&mut self, _: DraftId, origin: Origin) {
        black_box(origin);
    }

    fn has(&mut self, _: &Owner, origin: &Origin) -> bool {
        black_box(origin);
        false
    }

    fn fetched(&mut self, _: u64) {}

    fn prepare(&mut self, _: DraftId) -> Result<(), Refused> {
        Ok(())
    }

    fn commit(&mut self, _: DraftId) {
        self.over += 1;
    }

    fn finish(&mut self, _: DraftId) {
        self.over += 1;
        self.finished = true;
    }

    fn settle(&mut self) -> Result<(), Refused> {
        self.finished = false;
        Ok(())
    }

    fn abort(&mut self, _: DraftId) {
        self.over += 1;
    }

    fn not_kept(&mut self, why: &str) {
        panic!("{why}");
    }

    fn refuses(&self) -> bool {
        true
    }

    fn note(&mut self, _: &str) {}
}
