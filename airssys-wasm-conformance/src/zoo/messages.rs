//! Attackers that flood, encircle or impersonate others.

use super::{End, ZooBench, config, guest, impatient, limits};
use crate::guests::Guest;
use crate::runner::{contracts, ensure_eq};

contracts! { ZooBench;
    "zoo.a27" {
        /// Asks itself, or asks one who asks it in turn: the request that would close the ring is refused with `cycle` at once, and
        /// all of the ring go on.
        fn request_cycle(t) {
            let zoo = t.open().await?;
            let selfish = guest(Guest::Hostile, "evil/selfish", &["messaging:evil/selfish"])?;
            let selfish = zoo.attacker(selfish, impatient()).await?;
            zoo.attack(&selfish, "self-request", End::AnswerLike("refused: cycle: ")).await?;
            let left = guest(Guest::Hostile, "evil/left", &["messaging:evil/right"])?;
            let left = zoo.attacker(left, limits(|_| {})).await?;
            let right = guest(Guest::Hostile, "evil/right", &["messaging:evil/left"])?;
            let right = zoo.attacker(right.config(config(&[])), limits(|_| {})).await?;
            let ring = "ask evil/right ask evil/left ok";
            zoo.attack(&left, ring, End::AnswerLike("answered: refused: cycle: ")).await?;
            ensure_eq!(zoo.statistics(&right)?.replaced, 0, "instances of the other one replaced");
            zoo.end().await
        }
    }
}
