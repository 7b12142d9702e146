//! What writing down the types of a component comes to, whatever engine reads them.

/// The most that the types of one component may come to when written out, in parts and bytes of names together. Types can
/// share their parts, so that a small binary can describe a large tree.
const MAX_SIZE: usize = 4 << 20;

/// The types of a component are larger than anything that is written by people.
#[derive(Debug)]
pub struct TooLarge;

/// Counts the parts of types while they are written.
#[derive(Debug, Default)]
pub struct Size(usize);

impl Size {
    /// Counts one part, and its name.
    ///
    /// # Errors
    /// It was one too many.
    pub fn count(&mut self, name: &str) -> Result<String, TooLarge> {
        self.0 += 1 + name.len();
        if self.0 > MAX_SIZE { Err(TooLarge) } else { Ok(name.to_owned()) }
    }

    /// Counts names, each as a part.
    ///
    /// # Errors
    /// It was one too many.
    pub fn names<'a>(&mut self, mut names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, TooLarge> {
        names.try_fold(Vec::new(), |mut names, name| {
            names.push(self.count(name)?);
            Ok(names)
        })
    }
}

/// An import or export that is neither a function nor an interface with something in it.
#[derive(Debug)]
pub struct Unusual {
    /// Its name.
    pub name: String,
    /// What it is, in words.
    pub kind: &'static str,
    /// Whether it is an interface of which nothing is used, and so does no harm when it is known.
    pub is_empty: bool,
}

impl Unusual {
    /// Something that no component of ours imports.
    pub fn new(name: &str, kind: &'static str) -> Self {
        Self { name: name.to_owned(), kind, is_empty: false }
    }

    /// An interface of which nothing is used.
    pub fn empty(name: &str) -> Self {
        Self { is_empty: true, ..Self::new(name, "an empty interface") }
    }
}
