//! Stores: keys, ranges, commits and transactions beside a sorted map; and what is read back when the bytes underneath are not
//! those that were written.

#![no_main]

mod damage;
mod keys;
mod model;
mod steps;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;

/// What an input is.
#[derive(Arbitrary, Debug)]
enum Part {
    /// Names, keys and ranges.
    Keys,
    /// Steps on a store and on its model.
    Steps,
    /// A store whose records are changed behind its back.
    Records,
    /// An export that is changed on its way.
    Export,
}

fuzz_target!(|bytes: &[u8]| {
    let input = &mut Unstructured::new(bytes);
    // An input that is too short has nothing to say.
    let _ = match input.arbitrary() {
        Ok(Part::Keys) => keys::check(input),
        Ok(Part::Steps) => steps::walk(input),
        Ok(Part::Records) => damage::change_records(input),
        Ok(Part::Export) => damage::change_export(input),
        Err(_) => return,
    };
});
