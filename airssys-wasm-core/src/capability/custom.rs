//! Permissions that an embedder adds to the host.

use std::{fmt, str::FromStr};

use super::invalid::{InvalidPattern, PatternProblem, PatternSubject};
use super::namespace::{self, NamespacePattern};
use super::{text_door, topic};

/// A permission with a name that the embedder chose, and the objects it covers: `acme:geo/lookup`.
///
/// The name is two kebab-case labels, as in a component id, joined by `:`: who
/// defines the permission, and what it is. After the first `/` comes a [`NamespacePattern`] of objects, which
/// the host function that asks for the permission gives a meaning to; `/**` covers every object.
///
/// ```
/// use airssys_wasm_core::capability::{CustomCapability, InvalidPattern};
///
/// let custom: CustomCapability = "acme:geo/cities/*".parse()?;
/// assert_eq!(custom.name(), "acme:geo");
/// assert!(custom.matches("acme:geo", "cities/paris"));
/// assert!(!custom.matches("acme:geo", "countries/fr"));
///
/// assert!("geo/lookup".parse::<CustomCapability>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct CustomCapability {
    name: Box<str>,
    objects: NamespacePattern,
}

impl CustomCapability {
    /// The name: `acme:geo`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The objects it covers.
    pub fn objects(&self) -> &NamespacePattern {
        &self.objects
    }

    /// Whether `object` of the permission `name` is covered.
    pub fn matches(&self, name: &str, object: &str) -> bool {
        &*self.name == name && self.objects.matches(object)
    }
}

impl fmt::Display for CustomCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.objects)
    }
}

impl FromStr for CustomCapability {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            if text.is_empty() {
                return Err(PatternProblem::Empty);
            }
            let (name, objects) = match text.split_once('/') {
                Some((name, objects)) => (name, Some(objects)),
                None => (text, None),
            };
            if !is_name(name) {
                return Err(PatternProblem::CustomName);
            }
            let objects =
                objects.filter(|objects| !objects.is_empty()).ok_or(PatternProblem::MissingObject)?;
            Ok(Self { name: name.into(), objects: NamespacePattern::parse(objects)? })
        };
        parse().map_err(|problem| InvalidPattern::new(PatternSubject::Custom, text, problem))
    }
}

text_door!(CustomCapability, InvalidPattern);

/// Whether an object of a permission can be asked for under these names.
pub(super) fn is_object(name: &str, object: &str) -> bool {
    is_name(name) && namespace::is_namespace(object)
}

fn is_name(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(owner, what)| topic::check_label(owner).is_ok() && topic::check_label(what).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_object_are_both_compared() {
        let check = |text: &str, name: &str, object: &str, expected: bool| {
            let custom: CustomCapability = text.parse().unwrap();
            assert_eq!(custom.matches(name, object), expected, "{text} against {name:?} {object:?}");
        };
        check("acme:geo/lookup", "acme:geo", "lookup", true);
        check("acme:geo/lookup", "acme:geo2", "lookup", false);
        check("acme:geo/lookup", "other:geo", "lookup", false);
        check("acme:geo/lookup", "acme:geo", "lookup/x", false);
        check("acme:geo/**", "acme:geo", "lookup/x", true);
        check("acme:geo/**", "acme:geo", "", false);
        check("acme:geo/**", "acme:geo", "*", false);
        check("acme:geo/a/b", "acme:geo/a", "b", false);
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<CustomCapability>().unwrap_err().to_string(), expected);
        };
        check("", "the custom capability `` is empty; write for example `acme:geo/lookup`");
        for text in
            ["geo/x", "acme:/x", ":geo/x", "Acme:geo/x", "a:b:c/x", "*:geo/x", "acme:*/x", "/x", "acme geo"]
        {
            check(
                text,
                &format!(
                    "the custom capability `{text}` does not start with two kebab-case labels joined by \
                     `:`; write for example `acme:geo/lookup`"
                ),
            );
        }
        for text in ["acme:geo", "acme:geo/"] {
            check(
                text,
                &format!(
                    "the custom capability `{text}` has no object; append it, for example `/lookup`, or \
                     `/**` for every object"
                ),
            );
        }
        check(
            "acme:geo/Paris",
            "the custom capability `acme:geo/Paris` contains 'P'; use `a-z`, `0-9`, `-`, `_` and `.`, with \
             `/` between segments",
        );
    }
}
