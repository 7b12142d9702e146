//! Every flaw, the contracts that must catch it, and the words in which they say what is wrong.

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
    /// Deadlines come three seconds late, those of waits too.
    DeadlinesLate => {
        "host.messages.deadlines_hold_while_waiting": "it took",
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
    }
    /// A poisoned instance says that it is ready.
    PoisonNotShown => {
        "host.messages.mailbox_outlives_a_trap": "was ended in the middle of a call, and takes no more",
        "host.restart.of_an_instance": "was ended in the middle of a call, and takes no more",
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
    }
    /// Whatever comes of `shutdown`, it is said to have gone well.
    ShutdownErrorsSwallowed => {
        "host.life.shutdown_may_fail": "the error of a shutdown that comes to panic",
    }
}
