//! The flaws. Each names the contract that must catch it, and words of what that contract then says.

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $flaw:ident => $contract:literal broken by $words:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flaw { $($(#[doc = $doc])+ $flaw,)* }

        impl Flaw {
            /// Every flaw.
            pub(crate) const ALL: &[Self] = &[$(Self::$flaw,)*];

            /// The contract that must catch it.
            pub(crate) const fn contract(self) -> &'static str {
                match self { $(Self::$flaw => $contract,)* }
            }

            /// What the contract says when it is the flaw that broke it, and nothing else.
            pub(crate) const fn words(self) -> &'static str {
                match self { $(Self::$flaw => $words,)* }
            }
        }
    };
}

flaws! {
    /// A component that is written as text is compiled as well.
    TextLoads => "engine.load.rejects_invalid"
        broken by "the bytes \"(component)\"",
    /// Every load fails as not valid, whatever the reason.
    OneLoadFault => "engine.load.rejects_truncated"
        broken by "Load(Truncated) was expected",
    /// The validator panics at what is not valid.
    GarbagePanics => "engine.load.survives_garbage"
        broken by "a panic: the validator",
    /// Imports are not named.
    ImportsUnnamed => "engine.load.unknown_import_named"
        broken by "`acme:missing/thing@1.0.0` is not named",
    /// Code that was compiled once is found again by its bytes, whatever the options are.
    CodeKnownByBytes => "engine.load.extensions"
        broken by "one of two functions was declared",
    /// The interface lacks its last function.
    InterfaceCut => "engine.load.interface_is_complete"
        broken by "an export with another type than the contract says",
    /// A component with WASI sees the environment of its host.
    EnvironmentInherited => "engine.link.nothing_granted"
        broken by "environment the guest sees",
    /// The profile names an interface that cannot be imported.
    ProfileBoasts => "engine.profile.is_true"
        broken by "the profile says that `acme:quantum/entangler@1.0.0` may be imported",

    /// The last byte of a long reply is another.
    LastByte => "engine.call.message_round_trip"
        broken by "bytes came back as others",
    /// The content type is dropped.
    ContentTypeLost => "engine.call.message_round_trip"
        broken by "the content type",
    /// The sender is always the host.
    SenderLost => "engine.call.message_fields"
        broken by "what the guest saw of two messages",
    /// The message that this one belongs to is not told.
    CorrelationLost => "engine.call.every_field"
        broken by "the message as it lies in the guest",
    /// A message was sent at a full second.
    SecondsOnly => "engine.call.every_field"
        broken by "the message as it lies in the guest",
    /// Attempts are counted from zero.
    AttemptsFromZero => "engine.call.every_field"
        broken by "the message as it lies in the guest",
    /// The trace is not handed on.
    TraceLost => "engine.call.every_field"
        broken by "the message as it lies in the guest",
    /// An id is handed over with its halves in the wrong order.
    IdTurned => "engine.call.every_field"
        broken by "the message as it lies in the guest",
    /// A setting without a value is left out of the configuration.
    EmptySettingLost => "engine.call.configuration"
        broken by "the configuration as it lies in the guest",
    /// The configuration is not handed over.
    ConfigurationLost => "engine.call.configuration"
        broken by "with a greeting configured",
    /// The metadata has no description.
    DescriptionLost => "engine.call.metadata_and_shutdown"
        broken by "what the component says of itself",
    /// The version of a component is taken for its description, and its description for its version.
    MetadataSwapped => "engine.call.metadata_and_shutdown"
        broken by "what the component says of itself",
    /// A failure of the guest is a trap.
    FailureIsTrap => "engine.call.failure_is_a_value"
        broken by "`fail`, Failure(Internal)",
    /// Lists are cut at a thousand elements.
    ListsCut => "engine.call.all_wit_types"
        broken by "`echo-u64s`",
    /// The first two flags are mistaken for each other, on the way in and on the way out.
    FlagsSwapped => "engine.call.seen_by_the_guest"
        broken by "the guest did not see `JANUARY`",
    /// A NaN keeps its bits.
    NanKept => "engine.call.exact_floats"
        broken by "the canonical NaN",
    /// What does not exist is a trap.
    UnknownExportTraps => "engine.call.argument_mismatch"
        broken by "the export `no-such-function`",
    /// Calls are not counted.
    CallsNotCounted => "engine.call.usage_counts_calls"
        broken by "calls after three messages",
    /// A resource that is handed over is only lent.
    OwnIsBorrow => "engine.resources.lifecycle"
        broken by "how many live in the end",
    /// A resource can be looked at after it was handed over.
    StaleHandleTaken => "engine.resources.lifecycle"
        broken by "a resource that was handed back can still be looked at",
    /// Each instance numbers its resources from one, and a handle is no more than the number.
    HandlesNumbered => "engine.resources.belong_to_their_instance"
        broken by "another instance took the handle",
    /// An instance that reported a failure is replaced by a fresh one.
    FailureForgets => "engine.reuse.after_failure"
        broken by "the state",
    /// A call keeps its thread until it is over.
    ThreadKept => "engine.neighbours.are_not_starved"
        broken by "the honest guest had to wait",

    /// A function of the embedder gets its arguments in reverse order.
    ArgumentsReversed => "engine.host_function.same_bytes"
        broken by "what the embedder was asked",
    /// The caller of a function is always the embedder.
    CallerIsEmbedder => "engine.host_function.same_bytes"
        broken by "caller: ComponentId(acme/embedder)",
    /// An error value of a function ends the call.
    ErrorValueEnds => "engine.host_function.error_is_value"
        broken by "an error value",
    /// An error of a function is a fault of the host, of whatever kind it was.
    FunctionErrorIsFault => "engine.host_function.error_is_value"
        broken by "an error of the function",
    /// A panic in a function leaves a lock poisoned that all instances share.
    PanicPoisonsAll => "engine.host_function.panic_ends_instance_only"
        broken by "the lock is poisoned",
    /// A number of another type is converted to the one that was declared.
    NumbersConverted => "engine.host_function.result_is_checked"
        broken by "Some(S64(3)) reached the guest as a sum",
    /// Functions that are missing are replaced by some that always fail.
    MissingIsStubbed => "engine.host_function.missing_is_refused"
        broken by "an instance without its functions",

    /// An empty value is read as none.
    EmptyIsAbsent => "engine.services.storage"
        broken by "an empty value",
    /// No more than a thousand entries are asked for at a time.
    ListingCapped => "engine.services.storage"
        broken by "the calls as they arrived",
    /// A refusal of the store loses its words.
    RefusalWithoutWords => "engine.services.storage"
        broken by "`compare-and-set` refused",
    /// Values are cut at 64 KiB.
    ValuesCut => "engine.services.storage_of_any_size"
        broken by "the stored bytes are others",
    /// The timeout of an asynchronous request is in whole seconds.
    TimeoutRounded => "engine.services.messaging"
        broken by "the calls as they arrived",
    /// A cycle is reported as a timeout.
    CycleIsTimeout => "engine.services.messaging"
        broken by "`request` refused",
    /// Content types are cut at a hundred characters.
    ContentTypesCut => "engine.services.longest_content_type"
        broken by "the longest type",
    /// Whatever error a reply holds, the guest sees a timeout.
    ReplyErrorsAlike => "engine.services.replies"
        broken by "the error as the guest saw it",
    /// A reply that the component cannot take is dropped in silence.
    ReplyDropped => "engine.services.replies"
        broken by "a reply for a component without `replies`",
    /// What is not printable is escaped in log lines.
    LinesEscaped => "engine.services.logging"
        broken by "a line of level trace",
    /// The first answer to `enabled` is remembered.
    EnabledRemembered => "engine.services.logging"
        broken by "how often it asked",
    /// The guest is told of an error of the store, as of a refusal.
    ErrorIsRefusal => "engine.services.error_ends_call"
        broken by "storage.get failed: Storage was expected",
    /// An error of the store loses its detail.
    ErrorWithoutDetail => "engine.services.error_ends_call"
        broken by "the detail of storage.get",
    /// A panic in a service goes on into whoever called the guest.
    PanicGoesOn => "engine.services.panic_ends_instance_only"
        broken by "a panic: the panic of a service",

    /// Every trap is `unreachable`.
    OneTrapKind => "engine.trap.kinds"
        broken by "Trap(MemoryOutOfBounds) was expected",
    /// In messages, a division by zero is taken for a panic.
    DivisionIsPanic => "engine.trap.kinds_of_messages"
        broken by "divide: Trap(IntegerDivisionByZero) was expected",
    /// Text that is not UTF-8 is mended.
    TextMended => "engine.trap.invalid_values"
        broken by "not-utf8, Trap(InvalidValue)",
    /// An instance that returned an invalid value can be called again.
    InvalidValueForgiven => "engine.trap.invalid_values"
        broken by "the state after `outside`",
    /// A poisoned instance says that it is ready.
    PoisonNotShown => "engine.trap.poisons_instance"
        broken by "says that it is ready",
    /// `shutdown` of the component is not called.
    ShutdownSkipped => "engine.trap.anywhere"
        broken by "a division in `shutdown`",
    /// A component whose start function traps is not valid.
    StartTrapIsInvalid => "engine.trap.anywhere"
        broken by "a start function, Trap(Unreachable)",

    /// Deadlines are seconds later than asked.
    DeadlineLate => "engine.deadline.stops"
        broken by "loop was ended after",
    /// Reading from the store goes on, on a task of its own, when the guest is ended.
    WaitGoesOn => "engine.deadline.stops_blocked"
        broken by "waits given up in storage.get",
    /// A deadline that is over gives the guest some seconds more.
    PastDeadlineGrace => "engine.deadline.already_past"
        broken by "it went on for",
    /// Deadlines do not count in `init`.
    DeadlineNotInInit => "engine.deadline.covers_everything"
        broken by "a loop in `init` was ended after",
    /// A deadline that is very near is missed, and found seconds later.
    NearDeadlineMissed => "engine.deadline.not_lost"
        broken by "it took",
    /// The deadline of one call holds for those after it.
    DeadlineStays => "engine.deadline.is_of_one_call"
        broken by "the deadline had passed before the call began",
    /// A deadline that is days ahead overflows, and is over at once.
    FarDeadlineOverflows => "engine.deadline.is_of_one_call"
        broken by "the deadline had passed before the call began",

    /// A call that was dropped leaves the instance ready.
    DropNotNoticed => "engine.cancel.any_point"
        broken by "says that it is ready",
    /// A call runs on a task of its own, and goes on there when it is dropped.
    DroppedCallGoesOn => "engine.cancel.any_point"
        broken by "services that a given up call still has",
    /// A call begins when it is made, and not when it is first polled.
    CallBeginsEarly => "engine.cancel.before_it_began"
        broken by "what was asked of the host",
    /// An instance is never released.
    InstancesLeak => "engine.cancel.releases_everything"
        broken by "services kept after their instance was dropped",

    /// The same work takes another amount of fuel each time.
    FuelWanders => "engine.fuel.deterministic"
        broken by "the fuel of hostile for `recurse 100`",
    /// Running out of fuel is a timeout.
    FuelIsTimeout => "engine.fuel.exhausted"
        broken by "a loop with 1 fuel",
    /// Fuel is ignored where instructions are not counted.
    FuelIgnored => "engine.fuel.refused_when_not_counted"
        broken by "a call with fuel",

    /// One page more than the limit.
    OnePageMore => "engine.limits.memory_total"
        broken by "`grow-b` by 5 pages",
    /// A guest whose allocator gave up has merely trapped.
    GivingUpIsTrap => "engine.limits.memory_of_messages"
        broken by "an allocator that gave up",
    /// Every `unreachable` after a refused growth is blamed on the memory, in later calls as well.
    MemoryAlwaysBlamed => "engine.limits.memory_of_messages"
        broken by "a trap in a later call than the refused growth",
    /// What a component declares is not limited.
    DeclaredUnlimited => "engine.limits.declared_minimum"
        broken by "an instance that declares too much, Limit(Memory)",
    /// Tables are not limited.
    TablesUnlimited => "engine.limits.tables"
        broken by "`lengthen-b` by 31 elements",
    /// Instances are not limited.
    InstancesUnlimited => "engine.limits.instances"
        broken by "an instance that declares too much, Limit(Instances)",
    /// The guard page of the stack is taken for memory out of bounds.
    StackIsMemory => "engine.limits.stack"
        broken by "Trap(StackOverflow) was expected, the detail is Some(Trap(MemoryOutOfBounds))",
    /// The stack has room for small components only.
    StackTooSmall => "engine.limits.stack"
        broken by "recursion that ends",
    /// Handles are not limited.
    HandlesUnlimited => "engine.limits.handles"
        broken by "eleven handles beside ninety",
    /// Transfers are not limited.
    TransferUnlimited => "engine.limits.transfer"
        broken by "big-value 2000000, Limit(Transfer)",
    /// Values are weighed as the host keeps them, which is several bytes for each.
    ValuesWeighMore => "engine.limits.transfer_of_values"
        broken by "bytes handed over in one call",
    /// Values beyond the limit are left out.
    ValuesLeftOut => "engine.limits.transfer_of_values"
        broken by "500 MiB out of 64 KiB",
    /// Replies are not limited.
    ReplyUnlimited => "engine.limits.reply"
        broken by "one byte more, Limit(Reply)",

    /// An instance that nobody uses any more is handed out again.
    InstancesReused => "engine.isolation.memory"
        broken by "what a fresh instance finds in round 1",
    /// While one instance of a component lives, there is no other.
    OneInstanceForAll => "engine.isolation.living_instances"
        broken by "what another finds after instance 0 was soiled",
}
