//! What was meant by a key or a word that the parser does not know.

/// Nobody misspells a key of ours in this many bytes, and comparing costs what it is long.
const LONGEST_NAME: usize = 64;

/// Seen from the parser's message, ``unknown field `a`, expected one of `b`, `c` ``.
pub(super) fn for_message(message: &str) -> Option<String> {
    let (_, found) =
        message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    let (name, expected) = found.split_once('`')?;
    let (_, expected) = expected.split_once("expected ")?;
    let near = nearest(name, expected.split('`').skip(1).step_by(2))?;
    Some(format!("did you mean `{near}` instead of `{name}`?"))
}

/// The candidate that is most like `name`, if any is like it at all: a third of its letters may be wrong.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
