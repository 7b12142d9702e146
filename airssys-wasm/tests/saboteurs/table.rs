//! What the table of flaws says, against what comes of it.

use std::collections::HashSet;

use airssys_wasm_conformance::runner::Verdict;

use crate::flaw::{CAUGHT, Flaw};

/// A flaw, a contract that must catch it, and a part of what the contract then says.
pub(crate) type Case = (Flaw, &'static str, &'static str);

/// The cases of contracts whose ids begin so.
pub(crate) fn cases(beginning: &str) -> Vec<Case> {
    CAUGHT.iter().filter(|(_, contract, _)| contract.starts_with(beginning)).copied().collect()
}

/// How the contract missed the flaw; nothing when it was broken, and by these words.
pub(crate) fn missed((flaw, contract, reason): Case, verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Broken(broken) if broken.to_string().contains(reason) => None,
        Verdict::Broken(broken) => {
            Some(format!("{flaw:?} breaks {contract} for another reason than `{reason}`: {broken}"))
        }
        verdict => Some(format!("{flaw:?} went through {contract}, which is {}", verdict.name())),
    }
}

/// Shows that every contract is in a case, or among the exceptions, and none is in both.
pub(crate) fn check_complete(
    cases: &[Case],
    exceptions: &[(&'static str, &str)],
    contracts: impl Iterator<Item = &'static str>,
) {
    let named: HashSet<_> = cases.iter().map(|(_, contract, _)| *contract).collect();
    let excepted: HashSet<_> = exceptions.iter().map(|(contract, _)| *contract).collect();
    let contracts: HashSet<_> = contracts.collect();
    let without: Vec<_> =
        contracts.iter().filter(|id| !named.contains(*id) && !excepted.contains(*id)).collect();
    assert!(without.is_empty(), "nothing shows that these contracts bite: {without:#?}");
    let needless: Vec<_> =
        excepted.iter().filter(|id| named.contains(*id) || !contracts.contains(*id)).collect();
    assert!(
        needless.is_empty(),
        "these have a saboteur, or are no contracts, and need no exception: {needless:#?}"
    );
}
