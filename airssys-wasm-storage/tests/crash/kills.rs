//! The end of the process: a child that works is killed at a random moment, over and over, on the same folder.

use std::time::Duration;

use crate::campaign::{Campaign, Folder};
use crate::child::{self, Kill, Task};
use crate::history::Contents;
use crate::marks::{Bounds, Mark, Violation};

/// The contract that a lost commit breaks.
pub(crate) const SURVIVES_KILL: &str = "storage.immediate.survives_kill";

/// Kills so many children.
pub(crate) fn run(campaign: &mut Campaign, rounds: u64) {
    let mut folder = Folder::on_disk();
    let mut bounds = Bounds::default();
    let mut while_opening = 0;
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut numbers = campaign.numbers(round);
        let (kill, how) = if round % 4 == 0 {
            let after = Duration::from_micros(numbers.below(20_000));
            (Kill::AfterOpening(after), format!("round {round}, killed {after:?} after it began to open"))
        } else {
            let after = Duration::from_micros(20_000 + numbers.below(380_000));
            (Kill::AfterStart(after), format!("round {round}, killed {after:?} after its start"))
        };
        let task = Task::Work { until: u64::MAX, seed: campaign.seed ^ round };
        let ended = child::start(&campaign.store, &folder.path, &task, kill);
        let opened = ended.marks.iter().any(|mark| matches!(mark, Mark::Opened(_)));
        while_opening += u64::from(!opened);
        for mark in &ended.marks {
            bounds.note(mark);
            acknowledged += u64::from(matches!(mark, Mark::Acknowledged(_)));
        }
        // What was seen after one end must be there after the next.
        if let Some(Mark::Opened(generation)) =
            ended.marks.iter().find(|mark| matches!(mark, Mark::Opened(_)))
        {
            bounds.note(&Mark::Acknowledged(*generation));
        }
        // The next child is killed while it opens: it is to find what a killed one has left.
        if (round + 1) % 4 == 0 && round + 1 < rounds && !ended.has_complained() {
            campaign.tally.rounds += 1;
            continue;
        }
        let contents = Contents::read(&folder.path).expect("nobody else is in the folder");
        let said = ended.marks.iter().find_map(|mark| match mark {
            Mark::Violated(violation) => Some(violation.clone()),
            Mark::Refused => Some(Violation::new(SURVIVES_KILL, "it refuses to open or to work")),
            _ => None,
        });
        let task = Task::Verify { bounds, survives: SURVIVES_KILL.to_owned() };
        let after = match said {
            Some(violation) => {
                campaign.refute(&violation, &contents, &task, &how);
                None
            }
            None => campaign.verify(&folder.path, &contents, bounds, SURVIVES_KILL, &how),
        };
        match after {
            Some(after) => bounds = after,
            None if campaign.is_over() => break,
            None => (folder, bounds) = (Folder::on_disk(), Bounds::default()),
        }
    }
    campaign.tally.remark = format!("{while_opening} while opening, {acknowledged} acknowledgements");
}
