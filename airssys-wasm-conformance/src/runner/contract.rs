//! What a contract is, and how one is written.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::Poll;

/// A promise, and the code that finds out whether it is kept.
pub struct Contract<B: Bench> {
    /// `subject.group.name`.
    pub id: &'static str,
    /// The promise, in words: the documentation of its function.
    pub promise: &'static str,
    /// Which backends it binds.
    pub when: When<B::Feature>,
    /// Finds out.
    pub run: for<'a> fn(&'a B) -> Running<'a>,
}

impl<B: Bench> fmt::Debug for Contract<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract").field("id", &self.id).field("when", &self.when).finish_non_exhaustive()
    }
}

/// Which backends a contract binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<F> {
    /// Every one.
    Always,
    /// Those that offer this; all others are to refuse it.
    Feature(F),
}

/// A fresh place to work in, made for one contract.
pub trait Bench: Sized + 'static {
    /// What backends of this subject may or may not offer.
    type Feature: Copy + fmt::Debug + Send + Sync + 'static;

    /// Whether the backend says that it offers this.
    fn offers(&self, feature: Self::Feature) -> Running<'_, bool>;

    /// Shows that a feature that is not offered is refused, rather than ignored in silence.
    fn refuses(&self, feature: Self::Feature) -> Running<'_>;
}

/// How a contract went.
pub type Outcome<T = ()> = Result<T, Broken>;

/// A contract under way.
pub type Running<'a, T = ()> = Pin<Box<dyn Future<Output = Outcome<T>> + 'a>>;

/// How a promise was broken, and where that was noticed.
///
/// Every error becomes one with `?`; it is no error itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Broken {
    text: String,
    place: Option<&'static Location<'static>>,
}

impl Broken {
    /// What happened.
    #[track_caller]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), place: Some(Location::caller()) }
    }

    pub(crate) fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self { text: format!("a panic: {}", text.as_deref().unwrap_or("of an unknown kind")), place: None }
    }

    /// Adds what was being done.
    #[must_use]
    pub fn during(mut self, activity: impl fmt::Display) -> Self {
        self.text = format!("{activity}: {}", self.text);
        self
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.place.map_or(Ok(()), |place| write!(f, " [{}:{}]", place.file(), place.line()))
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: Error> From<E> for Broken {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Declares contracts, and collects them in a constant `CONTRACTS` of the module.
///
/// The first words name the bench. Then come groups, named by the beginning of their contracts' ids; a contract is a
/// documented function in a group, with an asynchronous body. Its documentation is the promise that reports show.
/// `[When::Feature(...)]` in front of a function binds those backends only that offer the feature.
macro_rules! contracts {
    ($bench:ty; $(
        $group:literal { $(
            $(#[doc = $promise:literal])+
            $([$when:expr])? fn $name:ident($t:ident) $body:block
        )+ }
    )+) => {
        pub(crate) const CONTRACTS: &[$crate::runner::Contract<$bench>] = &[$($(
            $crate::runner::Contract {
                id: concat!($group, ".", stringify!($name)),
                promise: concat!($($promise, "\n"),+),
                when: $crate::runner::contracts!(@when $($when)?),
                run: |bench| {
                    $(#[doc = $promise])+
                    async fn $name($t: &$bench) -> $crate::runner::Outcome $body
                    Box::pin($name(bench))
                },
            },
        )+)+];
    };
    (@when) => { $crate::runner::When::Always };
    (@when $when:expr) => { $when };
}
pub(crate) use contracts;

/// Ends a contract as broken unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::runner::Broken::new(format!($($words)+)));
        }
    };
}
pub(crate) use ensure;

/// Ends a contract as broken unless both sides are equal. The words say what they are.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($words:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => if *found != *expected {
                return Err($crate::runner::Broken::new(format!(
                    "{}: {} was expected, {} was found",
                    format_args!($($words)+),
                    $crate::runner::shown(expected),
                    $crate::runner::shown(found),
                )));
            }
        }
    };
}
pub(crate) use ensure_eq;

/// Ends a contract as broken.
macro_rules! fail {
    ($($words:tt)+) => {
        return Err($crate::runner::Broken::new(format!($($words)+)))
    };
}
pub(crate) use fail;

/// A value for a report: whole when it is short, cut when it is not.
pub(crate) fn shown(value: &impl fmt::Debug) -> String {
    const LONGEST: usize = 400;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{} ... ({} bytes of text)", &text[..end], text.len()),
    }
}

/// Polls a future a single time, and drops it.
pub(crate) async fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}
