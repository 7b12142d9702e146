//! Every flaw, the contracts of the host and the attacks of the zoo that must catch it, and the words in which they say what
//! is wrong.

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $flaw:ident => { $($contract:literal: $reason:literal,)+ })*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flaw { $($(#[doc = $doc])+ $flaw,)* }

        /// A flaw, a contract that must catch it, and a part of what the contract then says.
        pub(crate) const CAUGHT: &[(Flaw, &str, &str)] = &[$($((Flaw::$flaw, $contract, $reason),)+)*];
    };
}

// Those that a contract waits for come first, so that the others run meanwhile.
flaws! {
    /// Closing the store does not end.
    ClosingHangs => {
        "host.life.the_host_ends": "the host did not come to an end",
    }
    /// A message to another component never leaves.
    MessagesLost => {
        "host.unit_of_work.commits_on_ok": "it never came to be that the message arrived",
    }
    /// Deadlines come seconds late, those of waits too.
    DeadlinesLate => {
        "host.messages.deadlines_hold_while_waiting": "it took",
        "zoo.a01.endless_loop": "\"loop\": it was ended after",
        "zoo.a04.never_ready": "evil/init: it was ended after",
    }
    /// Storage takes and gives everything, and asks no gate.
    GateNotAsked => {
        "host.gate.nothing_granted": "increment: ExecutionFailed",
        "host.gate.wrong_grant": "a write: ExecutionFailed",
        "host.gate.forbidden_wins": "what is forbidden: ExecutionFailed",
        "host.gate.matrix.no_grant": "#get, NoGrant: decisions in the audit log",
        "host.gate.matrix.wrong_pattern": "#get, WrongPattern: decisions in the audit log",
    }
    /// Storage that was allowed once is allowed for good.
    AllowedForGood => {
        "host.gate.follows_grants": "a write after the grant was revoked: ExecutionFailed",
        "host.gate.matrix.revoked": "#get, Revoked: decisions in the audit log",
        "zoo.a36.use_after_revocation": "the gate was not asked about every call",
    }
    /// Storage that was denied once is denied for good, and the gate is not asked again.
    DeniedForGood => {
        "host.gate.nothing_granted": "recorded denials of storage",
        "host.gate.follows_grants": "nothing grants it",
    }
    /// Denials do not say which grant is missing, or what forbids it.
    DenialsUnexplained => {
        "host.gate.nothing_granted": "is refused without naming `grant `messaging:acme/other``",
        "host.gate.forbidden_wins": "the refusal does not say that it is forbidden",
    }
    /// Whatever the host refuses, the guest is told that it was done.
    RefusalsAreSuccesses => {
        "host.gate.nothing_granted": "send acme/other increment: ExecutionFailed",
        "host.gate.matrix.no_grant": "#send, NoGrant: the decision in the audit log",
        "host.gate.subscriptions_need_their_grant": "a subscription without a grant: ComponentLoadFailed",
        "host.unit_of_work.quota_is_exact": "the answer is `10 written`",
        "host.messages.outbox_is_bounded": "the answer is `10 sent`",
        "host.messages.requests_have_deadlines": "a component's request of 20 ms: ExecutionFailed",
        "host.messages.cycles_are_refused": "asking oneself was answered with `answered: `",
        "host.messages.to_nobody": "a component's message to nobody: ExecutionFailed",
        "zoo.a26.message_flood": "the answer is \"1000 sent\"",
        "zoo.a29.full_quota": "the answer is \"1000 written\"",
        "zoo.a30.oversized_writes": "Answer(\"2\") was expected, the answer is \"ok\"",
    }
    /// Whatever the host refuses ends the call of the guest.
    RefusalsEndTheCall => {
        "host.gate.matrix.right_grant": "#request-async came to",
        "host.unit_of_work.quota_is_exact": "refused, and ended for it",
        "host.messages.outbox_is_bounded": "refused, and ended for it",
        "host.messages.requests_have_deadlines": "refused, and ended for it",
    }
    /// Dashes are left out of the names of namespaces.
    DashesDropped => {
        "host.gate.namespaces_are_apart": "the first count of acme/ab:",
    }
    /// Every instance works with what the first one was given.
    ServicesOfTheFirst => {
        "host.gate.namespaces_are_apart": "the first count of acme/a-b",
    }
    /// A component that subscribes is told yes, and hears nothing.
    SubscriptionsLost => {
        "host.gate.subscriptions_need_their_grant": "deliveries to a subscriber with its grant",
    }
    /// The store acknowledges commits, and drops them.
    CommitsLost => {
        "host.unit_of_work.commits_on_ok": "what is in the store",
        "host.restart.of_an_instance": "what was committed before",
        "host.restart.of_a_component": "the count in the store",
        "host.restart.of_the_host": "the count over restarts",
        "host.unit_of_work.vanishes_on_host_kill": "what was committed: Some",
    }
    /// What a handler writes is in the store at once.
    WritesAtOnce => {
        "host.unit_of_work.vanishes_on_error": "whether the component sees its write",
        "host.unit_of_work.vanishes_on_trap": "whether the component sees its write",
        "host.unit_of_work.vanishes_on_timeout": "whether the component sees its write",
        "host.unit_of_work.vanishes_at_a_limit": "whether the component sees its write",
        "host.unit_of_work.vanishes_on_cancel": "whether the component sees its write",
        "host.unit_of_work.vanishes_on_host_kill": "what the unfinished handler has left",
    }
    /// What a handler sends leaves at once.
    SendsAtOnce => {
        "host.unit_of_work.vanishes_on_error": "messages that left",
        "host.unit_of_work.vanishes_on_trap": "messages that left",
        "host.unit_of_work.vanishes_on_timeout": "messages that left",
        "host.unit_of_work.vanishes_at_a_limit": "messages that left",
        "host.unit_of_work.vanishes_on_cancel": "messages that left",
    }
    /// Whatever ends a call, the handler is said to have returned ok.
    EndedCallsAreAnswers => {
        "host.unit_of_work.vanishes_on_error": "a failure: ExecutionFailed",
        "host.unit_of_work.vanishes_on_trap": "mark panic: ComponentTrapped",
        "host.unit_of_work.vanishes_on_timeout": "mark loop: ExecutionTimeout",
        "host.unit_of_work.vanishes_at_a_limit": "mark flood: ResourceLimitExceeded",
        "zoo.a05.in_callbacks": "Error(ExecutionTimeout, None) was expected, the answer is \"\"",
        "zoo.a15.out_of_bounds": "Some(Trap(InvalidValue))) was expected, the answer is \"\"",
        "zoo.a17.broken_text": "Some(Trap(InvalidValue))) was expected, the answer is \"\"",
        "zoo.a18.lying_allocator": "Some(Trap(InvalidValue))) was expected, the answer is \"\"",
        "zoo.a19.no_such_value": "Some(Trap(InvalidValue))) was expected, the answer is \"\"",
        "zoo.a20.forged_handles": "Some(Trap(InvalidHandle))) was expected, the answer is \"\"",
        "zoo.a33.files": "Some(Trap(InvalidHandle))) was expected, the answer is \"\"",
        "zoo.a42.sleeps_in_the_host": "Error(ExecutionTimeout, None) was expected, the answer is \"\"",
    }
    /// Asking is sending: the request leaves with the handler that asks.
    RequestsLeaveLater => {
        "host.unit_of_work.a_request_is_its_own_transaction": "the count after an asker that was ended",
    }
    /// The store says that every namespace is empty.
    UsageForgotten => {
        "host.unit_of_work.quota_is_exact": "the namespace would hold 404 bytes of 299 allowed",
    }
    /// Of two messages that nobody waits for, the second is handled first.
    TwoAtATimeBackwards => {
        "host.messages.ordered_per_sender": "the count",
    }
    /// The last byte of a long reply is another.
    LastByte => {
        "host.messages.bodies_are_kept": "a body of 65536 bytes was changed",
    }
    /// The content type of a reply is dropped.
    ContentTypeLost => {
        "host.messages.bodies_are_kept": "a body of 0 bytes was changed",
    }
    /// A request is answered with the answer to the one before.
    AnswerOfTheOneBefore => {
        "host.messages.answers_find_their_request": "the answer to",
    }
    /// There is never a second instance of a component.
    OneInstanceOnly => {
        "host.messages.mailbox_outlives_a_trap": "the last instance",
        "host.restart.of_an_instance": "the last instance",
        "host.restart.of_a_component": "the last instance",
        "host.life.init_may_fail": "the cause, when `init` comes to fail",
        "zoo.a39.traps_on_every_message": "the last instance",
    }
    /// A poisoned instance says that it is ready.
    PoisonNotShown => {
        "host.messages.mailbox_outlives_a_trap": "was ended in the middle of a call, and takes no more",
        "host.restart.of_an_instance": "was ended in the middle of a call, and takes no more",
        "zoo.a07.giant_frames": "was ended in the middle of a call, and takes no more",
        "zoo.a38.given_up_at_random": "was ended in the middle of a call, and takes no more",
        "zoo.a39.traps_on_every_message": "was ended in the middle of a call, and takes no more",
    }
    /// Every request of a component is given an hour.
    AnHourForEveryRequest => {
        "host.messages.requests_have_deadlines": "the request was not given up",
    }
    /// A ring of several that wait for each other is a timeout like any other.
    LongRingsAreTimeouts => {
        "host.messages.cycles_are_refused": "the ring is not named",
    }
    /// A ring of waits is a timeout like any other.
    RingsAreTimeouts => {
        "host.messages.cycles_are_refused": "asking oneself was answered with `refused: timeout`",
        "zoo.a27.request_cycle": "the answer is \"refused: timeout\"",
    }
    /// The error of a component loses its code.
    FailuresLoseTheirCode => {
        "host.messages.errors_keep_their_code": "an empty name: ExecutionFailed",
    }
    /// The error of a component loses its text.
    FailuresLoseTheirText => {
        "host.messages.errors_keep_their_code": "an empty name: the text is lost",
    }
    /// The error of a component loses its text on the way to another.
    PassedOnFailuresLoseTheirText => {
        "host.messages.errors_keep_their_code": "an empty name, asked by another: the text is lost",
    }
    /// The error of a component loses its code on the way to another.
    PassedOnFailuresLoseTheirCode => {
        "host.messages.errors_keep_their_code": "an empty name, asked by another: ExecutionFailed",
    }
    /// A fresh instance has what the one before it was told.
    MemoryOutlivesItsInstance => {
        "host.restart.of_an_instance": "what a fresh instance keeps in memory",
        "zoo.a37.remains_of_others": "Answer(\"ok\") was expected, the answer is",
    }
    /// A fresh instance begins with empty storage.
    InstancesBeginEmpty => {
        "host.restart.of_an_instance": "what was committed before",
        "host.restart.of_a_component": "the count after the start",
        "host.restart.of_the_host": "the count over restarts",
    }
    /// A store in memory claims to persist.
    ClaimsToPersist => {
        "host.restart.of_the_host": "the count over restarts",
        "host.unit_of_work.vanishes_on_host_kill": "what was committed: Some",
    }
    /// Whatever comes of `init`, the instance is said to have come up.
    InitErrorsSwallowed => {
        "host.life.init_may_fail": "fail: ComponentLoadFailed",
        "zoo.a04.never_ready": "the answer is \"it has started\"",
    }
    /// Whatever comes of `init`, it is a failure of the guest's own.
    InitErrorsAlike => {
        "host.life.init_may_fail": "the cause, when `init` comes to panic",
    }
    /// A guest that was ended at its deadline has trapped.
    TimeoutsAreTraps => {
        "host.unit_of_work.vanishes_on_timeout": "mark loop: ExecutionTimeout",
        "host.life.init_may_fail": "the cause, when `init` comes to loop",
        "host.life.shutdown_may_fail": "the error of a shutdown that comes to loop",
        "zoo.a03.bulk_instructions": "Error(ExecutionTimeout, None) was expected, the error is ComponentTrapped",
        "zoo.a04.never_ready": "it did not start because of ComponentTrapped",
        "zoo.a24.host_call_flood": "Error(ExecutionTimeout, None) was expected, the error is ComponentTrapped",
    }
    /// Whatever comes of `shutdown`, it is said to have gone well.
    ShutdownErrorsSwallowed => {
        "host.life.shutdown_may_fail": "the error of a shutdown that comes to panic",
    }
    /// What takes long keeps every thread: to compile a large component, or to end a call at its deadline.
    ThreadsKept => {
        "zoo.a03.bulk_instructions": "the neighbour was answered after",
        "zoo.a13.compile_bombs": "evil/functions: the neighbour was answered after",
    }
    /// What is refused for its size or its place is taken in first, and kept.
    RefusedIsHeld => {
        "zoo.a09.declared_memory": "evil/page: the process grew by",
        "zoo.a15.out_of_bounds": "the process grew by",
        "zoo.a16.aliased_lists": "the process grew by",
        "zoo.a23.giant_reply": "the process grew by",
        "zoo.a25.giant_log_line": "the process grew by",
        "zoo.a41.giant_requests": "the process grew by",
    }
    /// Whatever was published is kept, with a mebibyte around it.
    EventsKept => {
        "zoo.a28.publish_storm": "a storm: the process grew by",
    }
    /// A component may have twice the memory that it is allowed.
    MemoryDoubled => {
        "zoo.a08.memory_growth": "pages of 8 MiB",
        "zoo.a09.declared_memory": "evil/page: Error(ComponentLoadFailed, Some(Load(Init))) was expected",
        "zoo.a10.many_small_ones": "evil/memories: Error(ComponentLoadFailed, Some(Load(Init))) was expected",
    }
    /// Tables may have twice the elements that they are allowed.
    TablesDoubled => {
        "zoo.a11.giant_tables": "evil/large: Error(ComponentLoadFailed, Some(Load(Init))) was expected",
    }
    /// An instance may have twice the handles that it is allowed.
    HandlesDoubled => {
        "zoo.a21.endless_handles": "Some(Limit(Handles))) was expected, the error is ComponentTrapped",
    }
    /// There may be as many core instances as a binary has.
    InstancesUnlimited => {
        "zoo.a10.many_small_ones": "evil/empty: Error(ComponentLoadFailed, Some(Load(Init))) was expected",
        "zoo.a12.nested_instances": "evil/most: Error(ComponentLoadFailed, Some(Load(Init))) was expected",
    }
    /// A call may hand over as much as it likes.
    TransferUnlimited => {
        "zoo.a25.giant_log_line": "the answer is \"100000000 bytes logged\"",
        "zoo.a26.message_flood": "the answer is \"0 sent; refused: too-large",
    }
    /// A reply may be as long as it likes.
    ReplyUnlimited => {
        "zoo.a23.giant_reply": "Some(Limit(Reply))) was expected",
    }
    /// Running out of fuel is a timeout.
    FuelIsTimeout => {
        "zoo.a01.endless_loop": "Some(Limit(Fuel))) was expected, the error is ExecutionTimeout",
    }
    /// A stack that is used up is taken for an access out of memory.
    StackIsMemory => {
        "zoo.a06.deep_recursion": "the error is ComponentTrapped Some(Trap(MemoryOutOfBounds))",
        "zoo.a07.giant_frames": "the error is ComponentTrapped Some(Trap(MemoryOutOfBounds))",
    }
    /// Every trap is `unreachable`.
    TrapsAlike => {
        "zoo.a18.lying_allocator": "Some(Trap(InvalidValue))) was expected, the error is",
        "zoo.a20.forged_handles": "Some(Trap(InvalidHandle))) was expected, the error is",
        "zoo.a22.reentry": "Some(Trap(CannotEnter))) was expected, the error is",
        "zoo.a44.faults_of_the_embedder": "Some(Trap(HostFault))) was expected, the error is",
    }
    /// Whatever a service of the host ends a call with is a fault of the host.
    EndedByServicesIsFault => {
        "zoo.a24.host_call_flood": "Some(Limit(HostCalls))) was expected, the error is ComponentTrapped",
        "zoo.a44.faults_of_the_embedder": "Error(CapabilityDenied, None) was expected, the error is ComponentTrapped",
    }
    /// Binaries are validated when the first instance is made.
    ValidatedLate => {
        "zoo.a02.tail_calls": "Some(Load(Invalid))) was expected, the answer is \"evil/tail\"",
        "zoo.a12.nested_instances": "Some(Load(Invalid))) was expected, the answer is \"evil/nested\"",
        "zoo.a13.compile_bombs": "Some(Load(Invalid))) was expected, the answer is \"evil/functions\"",
        "zoo.a40.threads": "Some(Load(Invalid))) was expected, the answer is \"evil/shared\"",
    }
    /// What is found in the cache of compiled code is run, whose ever it is.
    CodeTrusted => {
        "zoo.a43.foreign_code": "loading: the neighbour was not answered",
    }
    /// Components whose names differ in dashes alone share their services.
    DashesOverlooked => {
        "zoo.a31.names_and_keys": "what evil/a-b finds under",
    }
    /// A key ends at its first NUL, unless it begins with it.
    KeysEndAtNul => {
        "zoo.a31.names_and_keys": "what is stored for evil/a",
    }
    /// A listing with a cursor that is none begins anew.
    CursorsMended => {
        "zoo.a32.forged_cursors": "Answer(\"3\") was expected, the answer is \"ok\"",
    }
    /// What a call has written that was ended is written again by the next one.
    EndedCallsWriteLater => {
        "zoo.a42.sleeps_in_the_host": "what a handler has left that was ended",
    }
    /// Files are deleted before the handle of their directory is looked at.
    FilesReached => {
        "zoo.a33.files": "the canary",
    }
    /// Whatever is refused of files, the guest is told that it was done.
    FileRefusalsAreSuccesses => {
        "host.files.directories_of_grants": "error no-entry",
        "host.files.revoked": "open-at: \"error access\" was expected",
        "host.files.wrong_pattern": "open-at: \"error access\" was expected",
        "host.files.read_is_not_write": "\"error access\" was expected",
        "host.files.right_grant": "\"error access\" was expected",
        "host.files.paths_stay_beneath": "came to",
        "host.files.moving_gives_no_right": "\"error access\" was expected",
        "host.files.special_files_are_not_opened": "\"error not-permitted\" was expected",
        "host.files.open_files_are_bounded": "\"error quota\" was expected",
        "host.files.forbidden_wins": "a file that is forbidden",
    }
    /// The root is open to everybody.
    RootGiven => {
        "host.files.nothing_granted": "0 /",
        "host.files.directories_of_grants": "3 /",
    }
    /// A path that leads out of its directory is opened by its words.
    PathsBelieved => {
        "host.files.paths_stay_beneath": "../other/secret\"] came to",
    }
    /// A symbolic link is followed.
    LinksFollowed => {
        "host.files.links_are_not_followed": "\"error loop\" was expected",
        "host.files.swapped_for_a_link": "what was read while the directory was swapped",
    }
    /// Who asks for a link is refused, and finds it made.
    LinksMade => {
        "host.files.links_are_not_made": "files in the folder",
    }
    /// What is to be written at the end is written at the start.
    AppendsAtStart => {
        "host.files.does_what_wasi_says": "was expected",
    }
    /// Names of the network are looked up, and found.
    LookupsSucceed => {
        "zoo.a34.network": "Answer(\"U\") was expected, the answer is \"!\"",
    }
    /// The sender is always the host.
    SendersLost => {
        "zoo.a35.impersonation": "Answer(\"answered: evil/forger\") was expected, the answer is \"answered: \"",
    }
    /// Every message has the same id.
    IdsRepeated => {
        "zoo.a35.impersonation": "an id of a message was used twice",
    }
}
