//! A component whose exports are the storage functions of its host, so that each can be called from outside.

/// The component, as text. It passes arguments and results through its own memory, and looks at none of them.
pub(super) const MIRROR: &str = r#"(component
    (import "airssys:core/storage@0.1.0" (instance $storage
        (type $bytes (list u8))
        (type $error (variant
            (case "denied" string) (case "quota-exceeded" string) (case "too-large" string)
            (case "invalid-cursor" string) (case "unavailable" string)))
        (export "storage-error" (type $storage-error (eq $error)))
        (type $expected (variant (case "absent") (case "value" $bytes)))
        (export "comparison" (type $comparison (eq $expected)))
        (type $pair (record (field "key" $bytes) (field "value" $bytes)))
        (export "entry" (type $entry (eq $pair)))
        (type $part (record (field "entries" (list $entry)) (field "cursor" (option $bytes))))
        (export "page" (type $page (eq $part)))
        (type $used (record (field "bytes" u64) (field "keys" u64) (field "max-bytes" u64) (field "max-keys" u64)))
        (export "storage-usage" (type $storage-usage (eq $used)))
        (export "get" (func (param "key" $bytes) (result (result (option $bytes) (error $storage-error)))))
        (export "set" (func (param "key" $bytes) (param "value" $bytes) (result (result (error $storage-error)))))
        (export "replace" (func (param "key" $bytes) (param "value" $bytes)
            (result (result (option $bytes) (error $storage-error)))))
        (export "delete" (func (param "key" $bytes) (result (result bool (error $storage-error)))))
        (export "exists" (func (param "key" $bytes) (result (result bool (error $storage-error)))))
        (export "list" (func (param "prefix" $bytes) (param "cursor" (option $bytes)) (param "limit" u32)
            (result (result $page (error $storage-error)))))
        (export "compare-and-set" (func (param "key" $bytes) (param "expected" $comparison) (param "value" $bytes)
            (result (result bool (error $storage-error)))))
        (export "usage" (func (result (result $storage-usage (error $storage-error)))))))
    (alias export $storage "storage-error" (type $storage-error))
    (alias export $storage "comparison" (type $comparison))
    (alias export $storage "page" (type $page))
    (alias export $storage "storage-usage" (type $storage-usage))

    (core module $heap
        (memory (export "memory") 16)
        (global $top (mut i32) (i32.const 65536))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at)))
    (core instance $heap (instantiate $heap))
    (alias core export $heap "memory" (core memory $memory))
    (alias core export $heap "realloc" (core func $realloc))

    (core func $get (canon lower (func $storage "get") (memory $memory) (realloc $realloc)))
    (core func $set (canon lower (func $storage "set") (memory $memory) (realloc $realloc)))
    (core func $replace (canon lower (func $storage "replace") (memory $memory) (realloc $realloc)))
    (core func $delete (canon lower (func $storage "delete") (memory $memory) (realloc $realloc)))
    (core func $exists (canon lower (func $storage "exists") (memory $memory) (realloc $realloc)))
    (core func $list (canon lower (func $storage "list") (memory $memory) (realloc $realloc)))
    (core func $compare-and-set (canon lower (func $storage "compare-and-set") (memory $memory) (realloc $realloc)))
    (core func $usage (canon lower (func $storage "usage") (memory $memory) (realloc $realloc)))

    (core module $mirror
        (import "host" "get" (func $get (param i32 i32 i32)))
        (import "host" "set" (func $set (param i32 i32 i32 i32 i32)))
        (import "host" "replace" (func $replace (param i32 i32 i32 i32 i32)))
        (import "host" "delete" (func $delete (param i32 i32 i32)))
        (import "host" "exists" (func $exists (param i32 i32 i32)))
        (import "host" "list" (func $list (param i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "compare-and-set" (func $compare-and-set (param i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "usage" (func $usage (param i32)))
        (func (export "get") (param i32 i32) (result i32)
            (call $get (local.get 0) (local.get 1) (i32.const 1024)) (i32.const 1024))
        (func (export "set") (param i32 i32 i32 i32) (result i32)
            (call $set (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 1024)) (i32.const 1024))
        (func (export "replace") (param i32 i32 i32 i32) (result i32)
            (call $replace (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 1024)) (i32.const 1024))
        (func (export "delete") (param i32 i32) (result i32)
            (call $delete (local.get 0) (local.get 1) (i32.const 1024)) (i32.const 1024))
        (func (export "exists") (param i32 i32) (result i32)
            (call $exists (local.get 0) (local.get 1) (i32.const 1024)) (i32.const 1024))
        (func (export "list") (param i32 i32 i32 i32 i32 i32) (result i32)
            (call $list (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
                (i32.const 1024))
            (i32.const 1024))
        (func (export "compare-and-set") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $compare-and-set (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
                (local.get 5) (local.get 6) (i32.const 1024))
            (i32.const 1024))
        (func (export "usage") (result i32) (call $usage (i32.const 1024)) (i32.const 1024)))
    (core instance $mirror (instantiate $mirror (with "host" (instance
        (export "get" (func $get)) (export "set" (func $set)) (export "replace" (func $replace))
        (export "delete" (func $delete)) (export "exists" (func $exists)) (export "list" (func $list))
        (export "compare-and-set" (func $compare-and-set)) (export "usage" (func $usage))))))

    (func (export "get") (param "key" (list u8)) (result (result (option (list u8)) (error $storage-error)))
        (canon lift (core func $mirror "get") (memory $memory) (realloc $realloc)))
    (func (export "set") (param "key" (list u8)) (param "value" (list u8)) (result (result (error $storage-error)))
        (canon lift (core func $mirror "set") (memory $memory) (realloc $realloc)))
    (func (export "replace") (param "key" (list u8)) (param "value" (list u8))
        (result (result (option (list u8)) (error $storage-error)))
        (canon lift (core func $mirror "replace") (memory $memory) (realloc $realloc)))
    (func (export "delete") (param "key" (list u8)) (result (result bool (error $storage-error)))
        (canon lift (core func $mirror "delete") (memory $memory) (realloc $realloc)))
    (func (export "exists") (param "key" (list u8)) (result (result bool (error $storage-error)))
        (canon lift (core func $mirror "exists") (memory $memory) (realloc $realloc)))
    (func (export "list") (param "prefix" (list u8)) (param "cursor" (option (list u8))) (param "limit" u32)
        (result (result $page (error $storage-error)))
        (canon lift (core func $mirror "list") (memory $memory) (realloc $realloc)))
    (func (export "compare-and-set") (param "key" (list u8)) (param "expected" $comparison)
        (param "value" (list u8)) (result (result bool (error $storage-error)))
        (canon lift (core func $mirror "compare-and-set") (memory $memory) (realloc $realloc)))
    (func (export "usage") (result (result $storage-usage (error $storage-error)))
        (canon lift (core func $mirror "usage") (memory $memory) (realloc $realloc)))
)"#;

#[cfg(test)]
mod tests {
    use super::MIRROR;

    #[test]
    fn the_mirror_is_well_formed() {
        wat::parse_str(MIRROR).unwrap();
    }
}
