//! Near matches for names that do not exist.

use airssys_wasm::core::capability::CapabilityKind;

/// The candidate that is most like `name`, if any is like it at all: a third of its letters may be wrong.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, to be put behind the sentence that refuses `name`; nothing when nothing is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// What was meant by an unknown key, value or kind of capability in a file, seen from the parser's message.
pub(crate) fn in_file(message: &str) -> Option<String> {
    let (name, near) = near_key(message).or_else(|| near_kind(message))?;
    Some(format!("did you mean `{near}` instead of `{name}`?"))
}

/// From ``unknown field `a`, expected one of `b`, `c` ``.
fn near_key(message: &str) -> Option<(&str, &str)> {
    let (_, found) =
        message.split_once("unknown field `").or_else(|| message.split_once("unknown variant `"))?;
    let (name, expected) = found.split_once('`')?;
    let (_, expected) = expected.split_once("expected ")?;
    Some((name, nearest(name, expected.split('`').skip(1).step_by(2))?))
}

/// From ``the capability `a:b` is of no known kind``.
fn near_kind(message: &str) -> Option<(&str, &str)> {
    let (capability, _) = message.split_once("` is of no known kind")?;
    let (kind, _) = capability.rsplit('`').next()?.split_once(':')?;
    Some((kind, nearest(kind, CapabilityKind::ALL.map(CapabilityKind::name))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_found() {
        let ids = ["acme/counter", "acme/greeter"];
        assert_eq!(nearest("acme/countr", ids), Some("acme/counter"));
        assert_eq!(nearest("ACME/greter", ids), Some("acme/greeter"));
        assert_eq!(nearest("x", ids), None);
        assert_eq!(did_you_mean("acme/countr", ids), "; did you mean `acme/counter`?");
        assert_eq!(did_you_mean("zebra", ids), "");
    }

    #[test]
    fn keys_are_read_from_the_message_of_the_parser() {
        let check = |message: &str, expected: Option<&str>| assert_eq!(in_file(message).as_deref(), expected);
        check(
            "TOML parse error\nunknown field `packages`, expected one of `manifest-version`, `package`",
            Some("did you mean `package` instead of `packages`?"),
        );
        check(
            "unknown field `pth`, expected `path` or `cache` at line 1",
            Some("did you mean `path` instead of `pth`?"),
        );
        check("unknown field `a`, there are no fields", None);
        check(
            "unknown variant `rebd`, expected `memory` or `redb`",
            Some("did you mean `redb` instead of `rebd`?"),
        );
        check("missing field `package`", None);
        let refused =
            "storge:acme/counter".parse::<airssys_wasm::core::capability::Capability>().unwrap_err();
        check(&refused.to_string(), Some("did you mean `storage` instead of `storge`?"));
    }
}
