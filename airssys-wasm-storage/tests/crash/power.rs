//! The loss of power: a child is recorded, the recording is cut anywhere, and the disks that are possible then are verified.

use crate::campaign::{Campaign, Folder};
use crate::child::Task;
use crate::history::{Contents, Event, History};
use crate::images::Mode;
use crate::kills::SURVIVES_KILL;
use crate::marks::{Bounds, Mark, Violation};
use crate::recorder::{self, Failure};
use crate::stores::Numbers;

/// The contract that a lost commit breaks.
pub(crate) const SURVIVES_POWER_LOSS: &str = "storage.immediate.survives_power_loss";
/// The contract that a commit breaks which is acknowledged after a synchronisation failed, and is not there.
pub(crate) const FAILURE_POISONS: &str = "storage.fsync.failure_poisons";
/// The contract that a store breaks which does not get over a full disk.
const DISK_FULL: &str = "storage.disk_full.is_clean";
/// The contract that a recovery breaks which loses what an earlier one had.
const RECOVERY_TWICE: &str = "storage.recovery.twice";

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) images: u64,
    /// The images of one recording.
    pub(crate) each: u64,
    /// The generations of one recording.
    pub(crate) generations: u64,
}

/// Verifies so many images of recordings that begin with an empty folder.
pub(crate) fn images(campaign: &mut Campaign, extent: Extent) {
    let mut events = 0;
    for recording in 0..extent.images.div_ceil(extent.each) {
        let count = extent.each.min(extent.images - recording * extent.each);
        let from = (Contents::default(), Bounds::default());
        let Some(history) = record(campaign, &from, extent.generations, None, recording) else { return };
        events += history.events.len();
        verify(campaign, &history, from.1, count, recording, None);
        if campaign.is_over() {
            break;
        }
    }
    campaign.tally.remark = format!("{events} recorded events");
}

/// The same where the recording begins with an image: what is cut is a recovery, and the work after it.
pub(crate) fn recoveries(campaign: &mut Campaign, extent: Extent) {
    let mut recovered = 0;
    for recording in 0..extent.images.div_ceil(extent.each) {
        let count = extent.each.min(extent.images - recording * extent.each);
        let empty = (Contents::default(), Bounds::default());
        let Some(history) = record(campaign, &empty, extent.generations, None, recording) else { return };
        let mut numbers = campaign.numbers(1_000_000 + recording);
        let cut = somewhere(&history, &mut numbers);
        let mode = Mode::ALL[numbers.below(4) as usize];
        let from = (history.image(cut, mode, &mut numbers), history.bounds(empty.1, cut));
        let Some(recovery) = record(campaign, &from, 6, None, recording) else { return };
        let opened = recovery.events.iter().position(|event| matches!(event, Event::Said(Mark::Opened(_))));
        recovered += opened.map_or(0, |at| changes(&recovery.events[..at]));
        verify(campaign, &recovery, from.1, count, recording, Some(RECOVERY_TWICE));
        if campaign.is_over() {
            break;
        }
    }
    campaign.tally.remark = format!("{recovered} changes by recoveries");
}

/// The same where one synchronisation fails.
pub(crate) fn failed_syncs(campaign: &mut Campaign, extent: Extent) {
    failures(campaign, extent, Failure::Sync, |event| matches!(event, Event::Synced { .. }), FAILURE_POISONS);
}

/// The same where one write fails for want of space.
pub(crate) fn failed_writes(campaign: &mut Campaign, extent: Extent) {
    failures(campaign, extent, Failure::Write, |event| event.file().is_some(), DISK_FULL);
}

/// Lets one call fail in each recording, among as many as one without failures has.
fn failures(
    campaign: &mut Campaign,
    extent: Extent,
    failure: impl Fn(u64) -> Failure,
    counts: impl Fn(&Event) -> bool,
    contract: &str,
) {
    let from = (Contents::default(), Bounds::default());
    let mut refused = 0;
    let recordings = extent.images.div_ceil(extent.each);
    let Some(well) = record(campaign, &from, extent.generations, None, 0) else { return };
    let calls = well.events.iter().filter(|event| counts(event)).count() as u64;
    for recording in 0..recordings {
        let count = extent.each.min(extent.images - recording * extent.each);
        let which = 1 + campaign.numbers(2_000_000 + recording).below(calls.max(1));
        let fails = Some((failure(which), contract));
        let Some(history) = record(campaign, &from, extent.generations, fails, recording) else { return };
        refused += u64::from(history.events.contains(&Event::Said(Mark::Refused)));
        verify(campaign, &history, from.1, count, recording, Some(contract));
        if campaign.is_over() {
            break;
        }
    }
    campaign.tally.remark = format!("{refused} of {recordings} refused to go on");
}

/// Records the work on a folder with these contents. None when that itself has broken a promise.
fn record(
    campaign: &mut Campaign,
    from: &(Contents, Bounds),
    generations: u64,
    fails: Option<(Failure, &str)>,
    recording: u64,
) -> Option<History> {
    let folder = Folder::in_memory();
    let scratch = Folder::in_memory();
    from.0.write(&folder.path).expect("there is room for an image");
    let task = Task::Work { until: generations, seed: campaign.seed ^ recording };
    let contract = fails.map_or(SURVIVES_POWER_LOSS, |(_, contract)| contract);
    let fails = fails.map(|(failure, _)| failure);
    let how = format!("recording {recording}, {fails:?}");
    match recorder::record(&campaign.store, &folder.path, &task, fails, &scratch.path) {
        Err(blind) => campaign.broken(&Violation::new("the recorder", blind), &how),
        Ok((history, ended)) => {
            let said = history.events.iter().find_map(|event| match event {
                Event::Said(Mark::Violated(violation)) => Some(violation.clone()),
                Event::Said(Mark::Refused) if fails.is_none() => {
                    Some(Violation::new(contract, "it refuses to open or to work"))
                }
                _ => None,
            });
            let Some(violation) = said.or_else(|| ended.violation(contract)) else {
                // Whether the recorder has seen everything: its image of the end is what is there.
                let there = Contents::read(&folder.path).expect("nobody else is in the folder");
                let image = history.image(history.events.len(), Mode::Everything, &mut Numbers::new(0));
                if there == image {
                    return Some(history);
                }
                campaign.broken(&Violation::new("the recorder", differs(&image, &there)), &how);
                return None;
            };
            let task = Task::Verify { bounds: from.1, survives: contract.to_owned() };
            campaign.refute(&violation, &from.0, &task, &how);
        }
    }
    None
}

fn differs(image: &Contents, there: &Contents) -> String {
    let names = |contents: &Contents| format!("{:?}", contents.files.keys().collect::<Vec<_>>());
    let other = image.files.iter().find(|(path, bytes)| there.files.get(*path) != Some(*bytes));
    format!(
        "what it has recorded is not what is there: {} and {}, {:?} differs",
        names(image),
        names(there),
        other.map(|(path, _)| path)
    )
}

/// Verifies images of a history, in all modes.
fn verify(
    campaign: &mut Campaign,
    history: &History,
    known: Bounds,
    count: u64,
    recording: u64,
    contract: Option<&str>,
) {
    for image in 0..count {
        let mut numbers = campaign.numbers((recording + 1) << 32 | image);
        let mode = Mode::ALL[(campaign.tally.rounds % 4) as usize];
        let cut = somewhere(history, &mut numbers);
        let contents = history.image(cut, mode, &mut numbers);
        let folder = Folder::in_memory();
        contents.write(&folder.path).expect("there is room for an image");
        let survives = contract.unwrap_or(match mode {
            Mode::Everything => SURVIVES_KILL,
            Mode::Metadata | Mode::Torn | Mode::Nothing => SURVIVES_POWER_LOSS,
        });
        let how = format!("recording {recording}, image {image}, {mode:?} before event {cut}");
        let bounds = history.bounds(known, cut);
        campaign.verify(&folder.path, &contents, bounds, survives, &how);
        if campaign.is_over() {
            return;
        }
    }
}

/// A place to cut. Most lie before a change or a synchronisation. One in eight lies where the store is opened, which is short
/// and full of surprises (of a recovery, half), and two in eight right behind an acknowledgement, when most has been promised.
/// Where something has failed, half lie behind that.
fn somewhere(history: &History, numbers: &mut Numbers) -> usize {
    let events = &history.events;
    let mut one_of =
        |places: &[usize]| places.get(numbers.below(places.len().max(1) as u64) as usize).copied();
    let all = |is: fn(&Event) -> bool| (0..events.len()).filter(move |at| is(&events[*at]));
    let failed = all(|event| matches!(event, Event::SyncFailed { .. } | Event::Said(Mark::Refused))).next();
    let opened = all(|event| matches!(event, Event::Said(Mark::Opened(_)))).next();
    let opening: Vec<_> = (0..=opened.unwrap_or(0)).collect();
    let promised: Vec<_> =
        all(|event| matches!(event, Event::Said(Mark::Acknowledged(_)))).map(|at| at + 1).collect();
    let acts: Vec<_> = all(|event| !matches!(event, Event::Said(_))).chain([events.len()]).collect();
    let share = one_of(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap_or(0);
    let place = match failed {
        Some(failed) if share < 4 => one_of(&(failed + 1..=events.len()).collect::<Vec<_>>()),
        _ if share == 0 || (share > 4 && !history.before.files.is_empty()) => one_of(&opening),
        _ if share < 3 => one_of(&promised),
        _ => None,
    };
    place.or_else(|| one_of(&acts)).unwrap_or(events.len())
}

fn changes(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Changed(_))).count()
}
