//! Attackers that never give the processor back.

use std::num::NonZeroU64;

use airssys_wasm_core::error::Limit;

use super::{End, ZooBench, guest, impatient, limits};
use crate::guests::Guest;
use crate::runner::contracts;

contracts! { ZooBench;
    "zoo.a01" {
        /// Computes forever, with and without calls of the host in between: `ExecutionTimeout` at its deadline; where instructions are
        /// counted, `ResourceLimitExceeded(Fuel)`.
        fn endless_loop(t) {
            let zoo = t.open().await?;
            let timed = zoo.attacker(guest(Guest::Hostile, "evil/timed", &[])?, impatient()).await?;
            zoo.attack(&timed, "loop", End::TIMEOUT).await?;
            zoo.attack(&timed, "loop-in-pieces", End::TIMEOUT).await?;
            let fuel = limits(|limits| limits.fuel = NonZeroU64::new(5_000_000));
            let metered = zoo.attacker(guest(Guest::Hostile, "evil/metered", &[])?, fuel).await?;
            zoo.attack(&metered, "loop", End::limit(Limit::Fuel)).await?;
            zoo.end().await
        }
    }
}
