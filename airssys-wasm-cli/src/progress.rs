//! How far a long operation is: a bar on a terminal, and nothing elsewhere.

use airssys_wasm::storage::Totals;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::logs;

/// A bar on standard error. Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Meter(ProgressBar);

impl Meter {
    /// For `doing` with so many records, where their number is known.
    pub(crate) fn new(doing: &'static str, records: Option<u64>) -> Self {
        let target =
            if logs::stderr_is_fancy() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(records, target).with_message(doing);
        let template = match records {
            Some(_) => "{msg} {bar:30} {human_pos} of {human_len} records, {eta} left",
            None => "{msg} {spinner} {human_pos} records",
        };
        match ProgressStyle::with_template(template) {
            Ok(style) => Self(bar.with_style(style)),
            // The bar of the library tells the same, less well.
            Err(_) => Self(bar),
        }
    }

    /// So much is done.
    pub(crate) fn at(&self, totals: Totals) {
        self.0.set_position(totals.records);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
