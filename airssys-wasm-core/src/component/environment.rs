//! What a component finds as its environment.

use std::fmt;

/// Variables and arguments, in the order in which they were given. Nothing of the host's own environment is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Environment {
    /// No variable, no argument.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable, in place of what it was.
    ///
    /// # Errors
    /// A name that is empty or has a `=`; a NUL in either.
    pub fn variable(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, InvalidEnvironment> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(InvalidEnvironment(name.into()));
        }
        self.variables.retain(|(other, _)| *other != name);
        self.variables.push((name, value));
        Ok(self)
    }

    /// Adds an argument. A component is no program, and so the first one is not its name.
    ///
    /// # Errors
    /// A NUL.
    pub fn argument(mut self, argument: impl Into<String>) -> Result<Self, InvalidEnvironment> {
        let argument = argument.into();
        if argument.contains('\0') {
            return Err(InvalidEnvironment(argument.into()));
        }
        self.arguments.push(argument);
        Ok(self)
    }

    /// The variables: name and value.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The arguments.
    pub fn arguments(&self) -> impl ExactSizeIterator<Item = &str> {
        self.arguments.iter().map(String::as_str)
    }
}

/// A variable or an argument that no environment can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEnvironment(Box<str>);

impl fmt::Display for InvalidEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} cannot be in an environment; a variable has a name without `=`, and nothing has a NUL",
            self.0
        )
    }
}

impl std::error::Error for InvalidEnvironment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_there_once() {
        let environment =
            Environment::new().variable("A", "1").and_then(|made| made.variable("B", "")).unwrap();
        let environment = environment.variable("A", "2").and_then(|made| made.argument("-x")).unwrap();
        assert_eq!(environment.variables().collect::<Vec<_>>(), [("B", ""), ("A", "2")]);
        assert_eq!(environment.arguments().collect::<Vec<_>>(), ["-x"]);
    }

    #[test]
    fn what_no_system_takes_is_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            assert!(Environment::new().variable(name, value).is_err(), "{name:?}={value:?}");
        }
        let refused = Environment::new().argument("a\0b").unwrap_err().to_string();
        assert!(refused.starts_with("\"a\\0b\" cannot be in an environment"), "{refused}");
    }
}
