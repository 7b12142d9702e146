//! A component that shows what it was handed, byte by byte, as it lies in its memory.

use airssys_wasm_core::messaging::MessageId;

/// The component, as text. Whatever the host lowers for it lies in one piece of its memory; the reply to a message is
/// this piece, behind the addresses of the message and of the configuration.
pub(super) const EXPOSED: &str = r#"(component
    (import "airssys:core/types@0.1.0" (instance $types
        (type $numbers (record (field "high" u64) (field "low" u64)))
        (export "message-id" (type $message-id (eq $numbers)))
        (type $content (record (field "content-type" (option string)) (field "payload" (list u8))))
        (export "body" (type $body (eq $content)))
        (type $who (variant (case "host") (case "component" string)))
        (export "sender" (type $sender (eq $who)))
        (type $context (record (field "trace-parent" string) (field "trace-state" string)))
        (export "trace-context" (type $trace-context (eq $context)))
        (type $everything (record
            (field "id" $message-id) (field "sender" $sender) (field "topic" (option string))
            (field "correlation" (option $message-id)) (field "body" $body) (field "sent-at" u64)
            (field "attempt" u32) (field "trace" (option $trace-context))))
        (export "message" (type $message (eq $everything)))
        (type $reasons
            (enum "invalid-input" "not-found" "denied" "conflict" "unavailable" "internal"))
        (export "failure-code" (type $failure-code (eq $reasons)))
        (type $trouble (record (field "code" $failure-code) (field "message" string)))
        (export "failure" (type $failure (eq $trouble)))))
    (alias export $types "body" (type $body))
    (alias export $types "message" (type $message))
    (alias export $types "failure" (type $failure))

    (core module $m
        (memory (export "memory") 2)
        (global $top (mut i32) (i32.const 65552))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "init") (param i32 i32) (result i32)
            (i32.store (i32.const 65540) (local.get 0))
            (i32.store (i32.const 65544) (local.get 1))
            (i32.const 1024))
        (func (export "execute") (param i32) (result i32)
            (i32.store (i32.const 65536) (local.get 0))
            (i32.store (i32.const 1040) (i32.const 65536))
            (i32.store (i32.const 1044) (i32.sub (global.get $top) (i32.const 65536)))
            (i32.const 1024))
        (func (export "shutdown") (result i32) (i32.const 1024))
        (func (export "metadata") (result i32) (i32.const 2048)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))

    (type $described (record (field "name" string) (field "version" string) (field "description" string)))
    (export $component-metadata "component-metadata" (type $described))
    (func $init (param "config" (list (tuple string string))) (result (result (error $failure)))
        (canon lift (core func $i "init") (memory $memory) (realloc $realloc)))
    (func $execute (param "message" $message) (result (result $body (error $failure)))
        (canon lift (core func $i "execute") (memory $memory) (realloc $realloc)))
    (func $shutdown (result (result (error $failure)))
        (canon lift (core func $i "shutdown") (memory $memory) (realloc $realloc)))
    (func $metadata (result $component-metadata)
        (canon lift (core func $i "metadata") (memory $memory) (realloc $realloc)))
    (instance $component
        (export "init" (func $init)) (export "execute" (func $execute)) (export "shutdown" (func $shutdown))
        (export "metadata" (func $metadata)) (export "component-metadata" (type $component-metadata)))
    (export "airssys:core/component@0.1.0" (instance $component))
)"#;

/// Where the piece begins.
const BASE: usize = 65_536;

/// A reply of the component, read by addresses in its memory.
pub(super) struct Piece(pub(super) Vec<u8>);

impl Piece {
    fn bytes<const N: usize>(&self, address: usize) -> Option<[u8; N]> {
        self.0.get(address.checked_sub(BASE)?..)?.first_chunk().copied()
    }

    fn number(&self, address: usize) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.bytes(address)?)).ok()
    }

    fn text(&self, address: usize) -> Option<String> {
        let (start, length) = (self.number(address)?.checked_sub(BASE)?, self.number(address + 4)?);
        let text = self.0.get(start..start.checked_add(length)?)?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn id(&self, address: usize) -> Option<MessageId> {
        let [high, low] = [address, address + 8].map(|address| self.bytes(address).map(u64::from_le_bytes));
        Some(MessageId::from_parts(high?, low?))
    }

    /// What lies behind a discriminant of one; none where it is zero.
    fn case<T>(&self, discriminant: usize, value: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
        match self.bytes(discriminant)? {
            [0] => Some(None),
            [1] => value().map(Some),
            _ => None,
        }
    }

    /// The message, if there is one that the canonical ABI allows.
    pub(super) fn message(&self) -> Option<SeenMessage> {
        let at = self.number(BASE)?;
        Some(SeenMessage {
            id: self.id(at)?,
            sender: self.case(at + 16, || self.text(at + 20))?,
            topic: self.case(at + 28, || self.text(at + 32))?,
            correlation: self.case(at + 40, || self.id(at + 48))?,
            content_type: self.case(at + 64, || self.text(at + 68))?,
            payload: self.text(at + 76)?,
            sent_at: u64::from_le_bytes(self.bytes(at + 88)?),
            attempt: u32::from_le_bytes(self.bytes(at + 96)?),
            trace: self.case(at + 100, || Some((self.text(at + 104)?, self.text(at + 112)?)))?,
        })
    }

    /// The configuration, if there is one that the canonical ABI allows.
    pub(super) fn configuration(&self) -> Option<Vec<(String, String)>> {
        let (at, length) = (self.number(BASE + 4)?, self.number(BASE + 8)?);
        let pairs = (0..length).map(|place| at + place * 16);
        pairs.map(|pair| Some((self.text(pair)?, self.text(pair + 8)?))).collect()
    }
}

/// A message with a payload of text, as the guest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenMessage {
    pub(super) id: MessageId,
    /// None is the host.
    pub(super) sender: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) correlation: Option<MessageId>,
    pub(super) content_type: Option<String>,
    pub(super) payload: String,
    pub(super) sent_at: u64,
    pub(super) attempt: u32,
    pub(super) trace: Option<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::EXPOSED;

    #[test]
    fn the_component_is_well_formed() {
        wat::parse_str(EXPOSED).unwrap();
    }
}
