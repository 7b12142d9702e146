//! Values, as a flawed engine passes them.

use airssys_wasm_core::runtime::{ResourceHandle, Value};

/// Changes a value and everything in it.
fn each(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    change(value);
    match value {
        Value::List(values) | Value::Tuple(values) => values.iter_mut().for_each(|value| each(value, change)),
        Value::Record(fields) => fields.iter_mut().for_each(|(_, value)| each(value, change)),
        Value::Variant(_, Some(payload))
        | Value::Option(Some(payload))
        | Value::Result(Ok(Some(payload)) | Err(Some(payload))) => each(payload, change),
        _ => {}
    }
}

/// Mistakes January for February, and the other way round, wherever both are flags.
pub(crate) fn swap_flags(value: &mut Value) {
    each(value, &mut |value| {
        let Value::Flags(names) = value else { return };
        for name in names {
            *name = match name.as_str() {
                "january" => "february".to_owned(),
                "february" => "january".to_owned(),
                _ => continue,
            };
        }
    });
}

/// The handles of one instance, numbered from one.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    handles: Vec<ResourceHandle>,
}

impl Numbers {
    /// Gives numbers to the handles of a value that comes out of the instance.
    pub(crate) fn number(&mut self, value: &mut Value) {
        each(value, &mut |value| {
            if let Value::Resource(handle) = value {
                self.handles.push(*handle);
                *handle = ResourceHandle(self.handles.len() as u64);
            }
        });
    }

    /// Finds the handles of a value that goes into the instance. What has no handle stays what it is, and is none.
    pub(crate) fn resolve(&self, value: &mut Value) {
        each(value, &mut |value| {
            if let Value::Resource(ResourceHandle(number)) = value {
                let place = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1));
                *number = place.and_then(|place| self.handles.get(place)).map_or(u64::MAX, |handle| handle.0);
            }
        });
    }
}
