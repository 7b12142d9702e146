//! How much is done when: a little on each change, more in a night, most before a release. And the table of what came out.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::campaign::{self, Campaign, Tally};
use crate::log_engine::Flaw;
use crate::power::{self, Extent};
use crate::subjects::{self, STORES};
use crate::{kills, recorder, self_checks};

/// What a tier does with each store.
#[derive(Clone, Copy, Debug)]
struct Tier {
    kills: u64,
    images: Extent,
    recoveries: Extent,
    failed_syncs: Extent,
    failed_writes: Extent,
}

impl Tier {
    fn numbered(number: u64) -> Self {
        let extent = |images, each, generations| Extent { images, each, generations };
        match number {
            1 => Self {
                kills: 25,
                images: extent(60, 30, 60),
                recoveries: extent(16, 4, 30),
                failed_syncs: extent(16, 2, 60),
                failed_writes: extent(16, 2, 60),
            },
            2 => Self {
                kills: 500,
                images: extent(1_600, 80, 300),
                recoveries: extent(400, 10, 100),
                failed_syncs: extent(400, 4, 60),
                failed_writes: extent(400, 4, 60),
            },
            3 => Self {
                kills: 5_000,
                images: extent(16_000, 100, 400),
                recoveries: extent(4_000, 10, 150),
                failed_syncs: extent(4_000, 4, 60),
                failed_writes: extent(4_000, 4, 60),
            },
            other => panic!("there is no tier {other}: 1 to 3"),
        }
    }
}

type Act = Box<dyn FnOnce(&mut Campaign) + Send>;
type Table = Arc<Mutex<Vec<(String, Tally)>>>;

/// Runs a tier.
pub(crate) fn run(arguments: &Arguments, number: u64, seed: Option<u64>) -> ExitCode {
    let tier = Tier::numbered(number);
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_millis() as u64)
    });
    let table = Table::default();
    let recorded = recorder::available();
    let mut trials = self_checks::trials();
    for store in STORES {
        let promises_power_loss = subjects::promises_power_loss(store);
        let acts: [(&str, bool, Act); 5] = [
            ("kills", false, Box::new(move |campaign| kills::run(campaign, tier.kills))),
            ("power_loss", true, Box::new(move |campaign| power::images(campaign, tier.images))),
            (
                "crash_in_recovery",
                true,
                Box::new(move |campaign| power::recoveries(campaign, tier.recoveries)),
            ),
            ("failed_sync", true, Box::new(move |campaign| power::failed_syncs(campaign, tier.failed_syncs))),
            (
                "failed_write",
                true,
                Box::new(move |campaign| power::failed_writes(campaign, tier.failed_writes)),
            ),
        ];
        for (what, needs_recorder, act) in acts {
            let name = format!("{store}::{what}");
            let campaign = Campaign::new(&name, store, seed);
            let trial = Trial::test(name.clone(), held(name, campaign, act, Arc::clone(&table)));
            let unpromised = needs_recorder && !promises_power_loss;
            trials.push(trial.with_ignored_flag(unpromised || needs_recorder && !recorded && number == 1));
        }
    }
    for (name, flaw, contract) in Flaw::ALL {
        let title = format!("saboteur::{name}");
        let mut campaign = Campaign::new(&title, name, seed);
        campaign.until = Some(contract);
        let trial = Trial::test(title.clone(), caught(title, campaign, flaw, Arc::clone(&table)));
        let needs_recorder = !matches!(flaw, Flaw::RecoveryDropsTheLast | Flaw::RecoveryForgets);
        trials.push(trial.with_ignored_flag(needs_recorder && !recorded && number == 1));
    }
    if !arguments.list {
        println!("tier {number}, seed {seed}");
        if !recorded {
            println!("strace is missing: what needs a recording is not run");
        }
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    if !arguments.list {
        print(&table.lock().unwrap_or_else(PoisonError::into_inner));
    }
    conclusion.exit_code()
}

/// A store keeps every promise.
fn held(
    name: String,
    mut campaign: Campaign,
    act: Act,
    table: Table,
) -> impl FnOnce() -> Result<(), Failed> + Send {
    move || {
        campaign::timed(&mut campaign, act);
        let tally = campaign.tally;
        let broken: Vec<_> = tally.broken.iter().map(ToString::to_string).collect();
        let rounds = tally.rounds;
        table.lock().unwrap_or_else(PoisonError::into_inner).push((name, tally));
        match (broken.is_empty(), rounds) {
            (true, 0) => Err("nothing was verified".into()),
            (true, _) => Ok(()),
            (false, _) => Err(broken.join("\n").into()),
        }
    }
}

/// A saboteur is caught, by the contract that names what it does.
fn caught(
    name: String,
    mut campaign: Campaign,
    flaw: Flaw,
    table: Table,
) -> impl FnOnce() -> Result<(), Failed> + Send {
    move || {
        let Tier { kills, images, failed_syncs, .. } = Tier::numbered(1);
        // A flaw shows in few of the images: so that none slips through by chance there are more of them.
        let more = |extent: Extent| Extent { images: 4 * extent.images, ..extent };
        campaign::timed(&mut campaign, |campaign| match flaw {
            Flaw::SyncErrorSwallowed => power::failed_syncs(campaign, more(failed_syncs)),
            Flaw::RecoveryDropsTheLast | Flaw::RecoveryForgets => kills::run(campaign, 2 * kills),
            _ => power::images(campaign, more(images)),
        });
        let over = campaign.is_over();
        let contract = campaign.until.unwrap_or_default();
        let mut tally = campaign.tally;
        let seen: Vec<_> = tally.broken.iter().map(ToString::to_string).collect();
        if over {
            let how = tally.broken.iter().find(|violation| violation.contract == contract);
            let how = how.map(|violation| violation.seen.split(" (").next().unwrap_or_default());
            tally.remark = format!("{contract}: {}", how.unwrap_or_default());
            // They were to be found: not counted among the violations.
            tally.broken.clear();
        }
        let rounds = tally.rounds;
        table.lock().unwrap_or_else(PoisonError::into_inner).push((name, tally));
        if over {
            return Ok(());
        }
        Err(format!("{flaw:?} was not caught by {contract} in {rounds} rounds; seen: {seen:?}").into())
    }
}

fn print(rows: &[(String, Tally)]) {
    if rows.is_empty() {
        return;
    }
    println!(
        "{:<38} {:>6} {:>10} {:>12} {:>12} {:>7}  remarks",
        "campaign", "rounds", "violations", "reopen p50", "reopen p99", "took"
    );
    for (name, tally) in rows {
        let mut reopened = tally.reopened.clone();
        reopened.sort_unstable();
        println!(
            "{name:<38} {:>6} {:>10} {:>12} {:>12} {:>5} s  {}",
            tally.rounds,
            tally.broken.len(),
            milliseconds(percentile(&reopened, 50)),
            milliseconds(percentile(&reopened, 99)),
            tally.took.as_secs(),
            tally.remark,
        );
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or("-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
}
