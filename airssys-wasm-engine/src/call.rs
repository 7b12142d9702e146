//! What every call of an instance goes through, before the guest and after it.

use std::time::Instant;

use airssys_wasm_core::component::ComponentOutput;
use airssys_wasm_core::error::{ErrorKind, Limit, Result, WasmError};
use airssys_wasm_core::interface::WitInterface;
use airssys_wasm_core::messaging::{Body, ContentType, Envelope, Sender};
use airssys_wasm_core::runtime::{CallBudget, ExecutionState, ExportName};

use crate::imports::list;
use crate::text::{guest_text, timeout};

/// Where an instance stands. A call that is dropped leaves it as it was during the call.
#[derive(Debug, Default)]
pub enum Standing {
    /// It takes calls.
    #[default]
    Ready,
    /// It is in this call, or was when the call was dropped.
    Calling(&'static str),
    /// A call ended it, for this reason.
    Ended(Box<str>),
}

impl Standing {
    /// # Errors
    /// [`Actor`](ErrorKind::Actor) unless the instance is ready.
    pub fn check_ready(&self, operation: &'static str) -> Result<()> {
        let why = match self {
            Self::Ready => return Ok(()),
            Self::Calling(dropped) => {
                format!("its call of `{dropped}` was dropped before it came to an end")
            }
            Self::Ended(why) => why.to_string(),
        };
        Err(WasmError::new(ErrorKind::Actor, operation)
            .saying("the instance was ended in the middle of a call, and takes no more")
            .with("because", why)
            .advising("make a new instance of the component"))
    }

    /// What a call that came to this outcome leaves behind: it takes more of them only after an answer.
    pub fn after<T>(outcome: &Result<T>) -> Self {
        match outcome {
            Ok(_) => Self::Ready,
            Err(error) => Self::Ended(error.message().into()),
        }
    }

    /// Whether a call is under way, or was when it was dropped.
    pub fn is_calling(&self) -> bool {
        matches!(self, Self::Calling(_))
    }

    /// The same for the host.
    pub fn state(&self) -> ExecutionState {
        match self {
            Self::Ready => ExecutionState::Ready,
            Self::Calling(_) | Self::Ended(_) => ExecutionState::Poisoned,
        }
    }
}

/// # Errors
/// [`ExecutionTimeout`](ErrorKind::ExecutionTimeout) when there is no time left for a call.
pub fn check_deadline(operation: &'static str, budget: CallBudget) -> Result<()> {
    if budget.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(timeout(operation).saying("the deadline had passed before the call began"));
    }
    Ok(())
}

/// The fuel of one call: what the budget gives, and no end of it where it gives none. None for code that does not count.
///
/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) for fuel that nobody would count.
pub fn check_fuel(operation: &'static str, is_metered: bool, budget: CallBudget) -> Result<Option<u64>> {
    match (is_metered, budget.fuel) {
        (true, fuel) => Ok(Some(fuel.map_or(u64::MAX, std::num::NonZeroU64::get))),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(WasmError::new(ErrorKind::InvalidConfiguration, operation)
            .saying("a call is given fuel, and the component was loaded without metering")
            .advising("load the component with `Metering::Fuel`")),
    }
}

/// # Errors
/// [`Limit::Transfer`] for more bytes than one call may hand over.
pub fn check_transfer(operation: &'static str, limit: usize, bytes: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(WasmError::limited(operation, Limit::Transfer).with("bytes", bytes).with("limit", limit))
}

/// The error for an export that is not there.
pub fn no_export(operation: &'static str, interface: &WitInterface, name: &ExportName) -> WasmError {
    let exports: Vec<_> = interface
        .exports
        .iter()
        .flat_map(|instance| {
            instance.functions.iter().map(|function| match instance.name.as_str() {
                "" => function.name.clone(),
                interface => format!("{interface}#{}", function.name),
            })
        })
        .collect();
    WasmError::new(ErrorKind::ComponentNotFound, operation)
        .saying("the component does not export this function")
        .with("export", guest_text(&name.to_string()))
        .with("exported", list(&exports))
}

/// What a message counts against the limit of bytes handed over.
pub fn message_size(message: &Envelope) -> usize {
    let sender = if let Sender::Component(id) = &message.sender { id.as_str().len() } else { 0 };
    let trace = message.trace.as_ref().map_or(0, |trace| trace.trace_parent.len() + trace.trace_state.len());
    message.body.size() + sender + trace + message.topic.as_ref().map_or(0, |topic| topic.as_str().len())
}

/// A reply as the guest gave it.
///
/// # Errors
/// [`Limit::Reply`] when it is larger than `limit`.
pub fn accept_reply(
    operation: &'static str,
    limit: usize,
    content_type: Option<&str>,
    payload: Vec<u8>,
) -> Result<ComponentOutput> {
    let bytes = payload.len() + content_type.map_or(0, str::len);
    if bytes > limit {
        return Err(WasmError::limited(operation, Limit::Reply).with("bytes", bytes).with("limit", limit));
    }
    // A text that is no media type says nothing: the reply is plain bytes then.
    let content_type = content_type.and_then(|text| text.parse::<ContentType>().ok());
    Ok(ComponentOutput { body: Body { content_type, payload } })
}
