//! The canonical ABI: values between the host and the memory of a guest, for any engine of core modules.
//!
//! Types that are known when the host is built go through [`Lower`] and [`Lift`]; those that only a component
//! knows go through [`dynamic`]. Either way the guest is on the other side of [`Guest`].

mod call;
mod cells;
pub(crate) mod dynamic;
mod guest;
pub(crate) mod handles;
mod shapes;
mod text;
pub(crate) mod transcode;
mod typed;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod kind;
#[cfg(test)]
mod properties;

pub(crate) use call::{lift_parameters, lift_results, lower_parameters, lower_results};
pub(crate) use cells::{Cells, MAX as MAX_CELLS, Reader};
pub(crate) use guest::Guest;
pub(crate) use shapes::{record, variant};
pub(crate) use typed::{Cases, Layout, Lift, Lower, offsets};
