//! The typed details of an error: what two backends must agree on.

use std::fmt;

use super::Blame;

/// What exactly happened, within a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// Of [`ComponentTrapped`](super::ErrorKind::ComponentTrapped).
    Trap(TrapKind),
    /// Of [`ResourceLimitExceeded`](super::ErrorKind::ResourceLimitExceeded).
    Limit(Limit),
    /// Of [`ComponentLoadFailed`](super::ErrorKind::ComponentLoadFailed).
    Load(LoadFault),
    /// Of [`Storage`](super::ErrorKind::Storage).
    Storage(StorageFault),
    /// Of [`Messaging`](super::ErrorKind::Messaging).
    Messaging(MessagingFault),
    /// Of [`ExecutionFailed`](super::ErrorKind::ExecutionFailed).
    Failure(FailureCode),
}

impl Detail {
    pub(super) fn blame(self) -> Option<Blame> {
        match self {
            Self::Trap(TrapKind::HostFault) => Some(Blame::Host),
            Self::Storage(fault) => Some(fault.blame()),
            Self::Messaging(MessagingFault::Unavailable | MessagingFault::Timeout) => Some(Blame::Guest),
            Self::Trap(_) | Self::Limit(_) | Self::Load(_) | Self::Messaging(_) | Self::Failure(_) => None,
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(detail) => detail.fmt(f),
            Self::Limit(detail) => detail.fmt(f),
            Self::Load(detail) => detail.fmt(f),
            Self::Storage(detail) => detail.fmt(f),
            Self::Messaging(detail) => detail.fmt(f),
            Self::Failure(detail) => detail.fmt(f),
        }
    }
}

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

named! {
    /// Why a guest trapped.
    TrapKind {
        /// `unreachable`: what a panic or an abort compiles to.
        Unreachable => "an `unreachable` instruction or a panic",
        /// A load or store outside a linear memory.
        MemoryOutOfBounds => "an access outside of linear memory",
        /// An access outside of a table.
        TableOutOfBounds => "an access outside of a table",
        /// An indirect call through a null entry.
        IndirectCallToNull => "an indirect call to a null entry",
        /// An indirect call with another signature than the callee's.
        IndirectCallSignature => "an indirect call with the wrong signature",
        /// A null reference used as if it were none.
        NullReference => "a null reference",
        /// Signed division of the smallest number by minus one.
        IntegerOverflow => "an integer overflow",
        /// Integer division by zero.
        IntegerDivisionByZero => "an integer division by zero",
        /// A float that does not fit into the integer asked for.
        BadConversionToInteger => "a conversion of a float to an integer that does not hold it",
        /// Calls nested too deeply, in the guest or through the host.
        StackOverflow => "a stack overflow",
        /// An unaligned access where alignment is demanded.
        Misaligned => "an unaligned access",
        /// A component instance entered while it is not allowed to be.
        CannotEnter => "an entry into a component instance that cannot be entered now",
        /// A pointer, string, discriminant or char that the canonical ABI refuses.
        InvalidValue => "a value that the canonical ABI refuses",
        /// A resource handle that is stale, foreign, or still lent out.
        InvalidHandle => "a resource handle that is not valid",
        /// A host function failed or panicked during the call.
        HostFault => "a fault in a host function",
        /// A trap this version has no name for; the source tells more.
        Other => "a trap of another kind",
    }
}

named! {
    /// Which limit was reached.
    Limit {
        /// Instructions per call.
        Fuel => "fuel",
        /// Bytes of all linear memories of an instance.
        Memory => "memory",
        /// Elements of all tables of an instance.
        TableElements => "table elements",
        /// Core instances, memories or tables of a component.
        Instances => "instances",
        /// Resource handles alive in an instance.
        Handles => "resource handles",
        /// Bytes handed over in one call between guest and host.
        Transfer => "bytes handed over in one call",
        /// Bytes of a reply.
        Reply => "bytes of a reply",
        /// Host calls during one message.
        HostCalls => "host calls during one message",
        /// Messages or bytes sent during one message.
        Outbox => "messages sent during one message",
        /// Bytes of a component's binary.
        ComponentSize => "bytes of the component binary",
        /// Live instances of the host.
        LiveInstances => "live instances of the host",
    }
}

named! {
    /// Why a component could not be loaded.
    LoadFault {
        /// The bytes do not start like WebAssembly.
        NotWebAssembly => "the bytes are not WebAssembly",
        /// A core module where a component is needed.
        CoreModule => "a core module, not a component",
        /// The binary ends too early.
        Truncated => "the binary is cut short",
        /// The binary is not valid, or uses what this engine has switched off.
        Invalid => "the binary is not valid",
        /// Imports that nothing here provides.
        UnknownImports => "imports that this host does not provide",
        /// An import we provide, with another type.
        ImportType => "an import with another type than this host provides",
        /// The interface every component exports is missing.
        MissingExport => "the interface `airssys:core/component` is not exported",
        /// An export with another type than the contract says.
        ExportType => "an export with another type than the contract says",
        /// The component answered `init` with an error, trapped in it, or did not return.
        Init => "the component did not start",
    }
}

named! {
    /// How a store refused or failed.
    StorageFault {
        /// The write would pass the namespace's quota.
        QuotaExceeded => "the quota would be exceeded",
        /// A precondition of the batch does not hold.
        Conflict => "a precondition does not hold",
        /// The store no longer keeps the moment that a transaction shows.
        TransactionTooOld => "the transaction is too old",
        /// An empty or overlong key.
        InvalidKey => "a key is empty or too long",
        /// A value, batch or page beyond the store's limits.
        TooLarge => "a value or a batch is too large",
        /// A cursor of another namespace, prefix or store.
        InvalidCursor => "the cursor is not one of this listing",
        /// Another process, or this one, has the store open.
        Locked => "the store is open elsewhere",
        /// Not a store, a store of another engine, or a newer format.
        Format => "the file is not a store this version reads",
        /// Stored bytes do not match their checksum.
        Damaged => "stored bytes are damaged",
        /// The disk is full.
        NoSpace => "no space is left on the device",
        /// An earlier failure made the store read-only until it is opened again.
        ReadOnly => "the store takes no writes until it is opened again",
        /// The store was closed.
        Closed => "the store is closed",
        /// The medium failed.
        Io => "input or output failed",
    }
}

impl StorageFault {
    fn blame(self) -> Blame {
        match self {
            Self::QuotaExceeded | Self::InvalidKey | Self::TooLarge | Self::InvalidCursor => Blame::Guest,
            Self::Conflict | Self::TransactionTooOld | Self::Locked | Self::Format => Blame::Caller,
            Self::Damaged | Self::NoSpace | Self::ReadOnly | Self::Closed | Self::Io => Blame::Host,
        }
    }
}

named! {
    /// Why a message was not delivered, or not answered.
    MessagingFault {
        /// No running component has this id.
        UnknownTarget => "no component of that name is running",
        /// The address or topic is not well formed.
        InvalidAddress => "the address is not valid",
        /// The mailbox is full, by messages or by bytes.
        QueueFull => "the mailbox is full",
        /// The message is larger than the receiver takes.
        TooLarge => "the message is too large",
        /// The receiver does not accept content of this type.
        NotAccepted => "the receiver does not accept this content type",
        /// No answer in time; the receiver may still be working.
        Timeout => "no answer in time",
        /// The receiver waits, directly or not, for the sender.
        Cycle => "the receiver is waiting for the sender",
        /// The receiver ended without an answer.
        Unavailable => "the receiver ended without an answer",
        /// The host is shutting down.
        ShuttingDown => "the host is shutting down",
        /// An asynchronous request by a component that does not export `replies`.
        NoReplies => "the component does not export `airssys:core/replies`",
    }
}

named! {
    /// What a component's own error is about: `failure-code` of the WIT package.
    FailureCode {
        /// The message is not one this component understands.
        InvalidInput => "invalid input",
        /// What the message speaks of does not exist.
        NotFound => "not found",
        /// The sender may not do this.
        Denied => "denied",
        /// The state has changed since the sender looked.
        Conflict => "conflict",
        /// Not now.
        Unavailable => "unavailable",
        /// Anything else.
        Internal => "internal",
    }
}
