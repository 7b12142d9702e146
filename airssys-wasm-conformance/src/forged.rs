//! Components written as text, which break the canonical ABI where no compiler would.

use std::fmt::Write;

use crate::runner::Outcome;

/// A component that keeps to the interface of the host, but for the core code that an attack puts in.
///
/// It answers the message `ok` with `ok`. Every other message names an attack by its position: `0` is the first. An attack
/// is the body of a function that takes the place and the length of the payload in `$payload` and `$length`, and
/// returns the place of the result of `execute`; `$answer` makes such a result of a place and a length. The global
/// `$message` is where the message lies.
///
/// Its memory has 16 pages: `ok` lies at 16, results of the interface at 512 and 1024, those of the host may go to 2048, and
/// what the host hands over is put behind 65536 by `$bump`, unless the code inside puts a function of its own at the first
/// place of the table `$hook`. The second place is for whatever else an attack has called.
#[derive(Debug, Default)]
pub(crate) struct Forged {
    imports: String,
    lowered: String,
    taken: String,
    given: String,
    inside: String,
    attacks: Vec<String>,
    init: &'static str,
    options: &'static str,
}

impl Forged {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Items of the component, ahead of its code: imports, types, other modules. The memory and the allocator are `$memory`
    /// and `$realloc`.
    pub(crate) fn item(mut self, text: &str) -> Self {
        self.imports.push_str(text);
        self
    }

    /// A core function of the host that the code calls by `$name`: how it is made, and its type.
    pub(crate) fn function(mut self, name: &str, made: &str, kind: &str) -> Self {
        self.lowered += &format!("(core func ${name} {made})\n");
        self.taken += &format!("(import \"host\" \"{name}\" (func ${name} {kind}))\n");
        self.given += &format!("(export \"{name}\" (func ${name}))\n");
        self
    }

    /// Items of the core module.
    pub(crate) fn inside(mut self, text: &str) -> Self {
        self.inside.push_str(text);
        self
    }

    /// What `init` does before it succeeds.
    pub(crate) fn init(mut self, body: &'static str) -> Self {
        self.init = body;
        self
    }

    /// More options of `execute`.
    pub(crate) fn options(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }

    /// One more attack.
    pub(crate) fn attack(mut self, body: impl Into<String>) -> Self {
        self.attacks.push(body.into());
        self
    }

    /// The component.
    ///
    /// # Errors
    /// Where the text is not well formed.
    pub(crate) fn wasm(&self) -> Outcome<Vec<u8>> {
        Ok(wat::parse_str(self.text())?)
    }

    fn text(&self) -> String {
        let Self { imports, lowered, taken, given, inside, attacks, init, options } = self;
        let mut functions = String::new();
        let mut names = String::new();
        for (position, body) in attacks.iter().enumerate() {
            let _ = writeln!(functions, "(func $attack{position} {ATTACK} {body})");
            let _ = write!(names, " $attack{position}");
        }
        format!(
            r#"(component
    {TYPES}
    (core module $heap
        (type $realloc (func (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 16)
        (table $hook (export "hook") 2 funcref)
        (global $top (export "top") (mut i32) (i32.const 65536))
        (func $bump (export "bump") (type $realloc) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "realloc") (type $realloc)
            (local.get 0) (local.get 1) (local.get 2) (local.get 3)
            (if (param i32 i32 i32 i32) (result i32) (ref.is_null (table.get $hook (i32.const 0)))
                (then (call $bump))
                (else (call_indirect $hook (type $realloc) (i32.const 0))))))
    (core instance $heap (instantiate $heap))
    (alias core export $heap "memory" (core memory $memory))
    (alias core export $heap "realloc" (core func $realloc))
    {imports}
    {lowered}
    (core module $main
        (type $realloc (func (param i32 i32 i32 i32) (result i32)))
        (type $attack (func {ATTACK}))
        (import "heap" "memory" (memory $memory 16))
        (import "heap" "hook" (table $hook 2 funcref))
        (import "heap" "bump" (func $bump (type $realloc)))
        (import "heap" "top" (global $top (mut i32)))
        {taken}
        (global $message (mut i32) (i32.const 0))
        {inside}
        (data (i32.const 16) "ok")
        (func $answer (param $at i32) (param $length i32) (result i32)
            (i32.store (i32.const 1024) (i32.const 0))
            (i32.store (i32.const 1028) (i32.const 0))
            (i32.store (i32.const 1040) (local.get $at))
            (i32.store (i32.const 1044) (local.get $length))
            (i32.const 1024))
        {functions}
        (table $attacks funcref (elem{names}))
        (func (export "init") (param i32 i32) (result i32) {init} (i32.const 512))
        (func (export "execute") (param $message i32) (result i32) (local $payload i32) (local $length i32)
            (global.set $message (local.get $message))
            (local.set $payload (i32.load offset=76 (local.get $message)))
            (local.set $length (i32.load offset=80 (local.get $message)))
            (if (i32.eq (i32.load8_u (local.get $payload)) (i32.const 111))
                (then
                    (global.set $top (i32.const 65536))
                    (return (call $answer (i32.const 16) (i32.const 2)))))
            (call_indirect $attacks (type $attack) (local.get $payload) (local.get $length)
                (i32.sub (i32.load8_u (local.get $payload)) (i32.const 48))))
        (func (export "nothing") (result i32) (i32.const 512)))
    (core instance $main (instantiate $main (with "heap" (instance $heap)) (with "host" (instance {given}))))
    (func $init (param "config" (list (tuple string string))) (result (result (error $failure)))
        (canon lift (core func $main "init") (memory $memory) (realloc $realloc)))
    (func $execute (param "message" $message) (result (result $body (error $failure)))
        (canon lift (core func $main "execute") (memory $memory) (realloc $realloc) {options}))
    (func $shutdown (result (result (error $failure))) (canon lift (core func $main "nothing") (memory $memory)))
    (func $metadata (result $described) (canon lift (core func $main "nothing") (memory $memory)))
    (instance $component
        (export "component-metadata" (type $described))
        (export "init" (func $init))
        (export "execute" (func $execute))
        (export "shutdown" (func $shutdown))
        (export "metadata" (func $metadata)))
    (export "airssys:core/component@0.1.0" (instance $component)))"#
        )
    }
}

/// The type of an attack.
const ATTACK: &str = "(param $payload i32) (param $length i32) (result i32)";

/// The types of our package that every component names.
const TYPES: &str = r#"(import "airssys:core/types@0.1.0" (instance $types
        (type $id' (record (field "high" u64) (field "low" u64)))
        (export "message-id" (type $id (eq $id')))
        (type $body' (record (field "content-type" (option string)) (field "payload" (list u8))))
        (export "body" (type $body (eq $body')))
        (type $sender' (variant (case "host") (case "component" string)))
        (export "sender" (type $sender (eq $sender')))
        (type $trace' (record (field "trace-parent" string) (field "trace-state" string)))
        (export "trace-context" (type $trace (eq $trace')))
        (type $message' (record (field "id" $id) (field "sender" $sender) (field "topic" (option string))
            (field "correlation" (option $id)) (field "body" $body) (field "sent-at" u64) (field "attempt" u32)
            (field "trace" (option $trace))))
        (export "message" (type $message (eq $message')))
        (type $code' (enum "invalid-input" "not-found" "denied" "conflict" "unavailable" "internal"))
        (export "failure-code" (type $code (eq $code')))
        (type $failure' (record (field "code" $code) (field "message" string)))
        (export "failure" (type $failure (eq $failure')))))
    (alias export $types "message" (type $message))
    (alias export $types "message-id" (type $id))
    (alias export $types "body" (type $body))
    (alias export $types "failure" (type $failure))
    (type $described (record (field "name" string) (field "version" string) (field "description" string)))"#;

/// The logging interface of the host, with the one function that takes text.
pub(crate) const LOGGING: &str = r#"(import "airssys:core/logging@0.1.0" (instance $logging
        (type $level' (enum "trace" "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $level')))
        (export "log" (func (param "level" $level) (param "message" string)))
        (export "enabled" (func (param "level" $level) (result bool)))))"#;

/// The messaging interface of the host.
pub(crate) const MESSAGING: &str = r#"(import "airssys:core/messaging@0.1.0" (instance $messaging
        (alias outer 1 $body (type $body))
        (alias outer 1 $failure (type $failure))
        (alias outer 1 $id (type $id))
        (type $error' (variant
            (case "denied" string) (case "invalid-address" string) (case "not-found" string)
            (case "queue-full" string) (case "too-large" string) (case "timeout") (case "cycle" string)
            (case "failed" $failure) (case "unavailable" string)))
        (export "messaging-error" (type $error (eq $error')))
        (export "send" (func (param "target" string) (param "body" $body) (result (result $id (error $error)))))
        (export "request" (func (param "target" string) (param "body" $body) (param "timeout-ms" u32)
            (result (result $body (error $error)))))
        (export "request-async" (func (param "target" string) (param "body" $body) (param "timeout-ms" u32)
            (result (result $id (error $error)))))
        (export "cancel" (func (param "request" $id) (result bool)))
        (export "publish" (func (param "topic" string) (param "body" $body) (result (result $id (error $error)))))
        (export "subscribe" (func (param "pattern" string) (result (result (error $error)))))
        (export "unsubscribe" (func (param "pattern" string) (result (result bool (error $error)))))
        (export "self-id" (func (result string)))))"#;

/// The storage interface of the host.
pub(crate) const STORAGE: &str = r#"(import "airssys:core/storage@0.1.0" (instance $storage
        (type $bytes (list u8))
        (type $error' (variant
            (case "denied" string) (case "quota-exceeded" string) (case "too-large" string)
            (case "invalid-cursor" string) (case "unavailable" string)))
        (export "storage-error" (type $error (eq $error')))
        (type $entry' (record (field "key" $bytes) (field "value" $bytes)))
        (export "entry" (type $entry (eq $entry')))
        (type $page' (record (field "entries" (list $entry)) (field "cursor" (option $bytes))))
        (export "page" (type $page (eq $page')))
        (export "get" (func (param "key" $bytes) (result (result (option $bytes) (error $error)))))
        (export "set" (func (param "key" $bytes) (param "value" $bytes) (result (result (error $error)))))
        (type $comparison' (variant (case "absent") (case "value" $bytes)))
        (export "comparison" (type $comparison (eq $comparison')))
        (type $usage' (record (field "bytes" u64) (field "keys" u64) (field "max-bytes" u64) (field "max-keys" u64)))
        (export "storage-usage" (type $usage (eq $usage')))
        (export "replace" (func (param "key" $bytes) (param "value" $bytes)
            (result (result (option $bytes) (error $error)))))
        (export "delete" (func (param "key" $bytes) (result (result bool (error $error)))))
        (export "compare-and-set" (func (param "key" $bytes) (param "expected" $comparison) (param "value" $bytes)
            (result (result bool (error $error)))))
        (export "usage" (func (result (result $usage (error $error)))))
        (export "exists" (func (param "key" $bytes) (result (result bool (error $error)))))
        (export "list" (func (param "prefix" $bytes) (param "cursor" (option $bytes)) (param "limit" u32)
            (result (result $page (error $error)))))))"#;

/// How a function of an imported instance is made one of core code.
pub(crate) fn lower(instance: &str, function: &str) -> String {
    format!("(canon lower (func ${instance} \"{function}\") (memory $memory) (realloc $realloc))")
}
