//! The command line.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use airssys_wasm::audit::Seal;
use airssys_wasm::core::capability::Capability;
use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::messaging::ContentType;
use airssys_wasm::core::security::TrustLevel;
use airssys_wasm::rights::moment;
use airssys_wasm::signature::PublicKey;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::access::{self, OwnedAccess};
use crate::engine::Engine;
use crate::stores::{StoreAt, StoreKind};
use crate::values::{ComponentPath, ConfigEntry, Grant, parse_duration};
use crate::{exit_code, stores, version};

/// Runs WebAssembly components as capability-gated actors.
///
/// A component may do nothing that is not granted to it.
#[derive(Debug, Parser)]
#[command(name = "airssys-wasm", version = version::text(), after_help = exit_code::help(), max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs components and sends them messages.
    ///
    /// The replies are written to standard output, one a line, and everything else to standard error. Without --message and
    /// --messages, each line of standard input is a message. The command ends after the last reply. At Ctrl-C it takes no
    /// further message, finishes what has begun, and ends; at a second one it ends at once.
    ///
    /// A component may do nothing that is not granted to it with --grant or --grant-requested.
    Run(Box<RunArguments>),
    /// Shows what a component imports, exports, and needs to be granted. Runs no code of it.
    Inspect(InspectArguments),
    /// Tells what a component asks for, what it gets, and what would allow the rest. Runs no code of it.
    ///
    /// The exit code is 7 when it may not run, or when something that was asked about with --access is denied.
    Explain(ExplainArguments),
    /// Lists and changes what an operator decided about components, in a file of rights.
    ///
    /// `run --rights FILE` gives components what the file says. One that nobody has looked at does not run, nor does one whose
    /// binary has changed since, or whose manifest asks for something new.
    #[command(after_help = exit_code::help())]
    Grants {
        #[command(subcommand)]
        command: GrantsCommand,
    },
    /// Makes a key for signatures, in a new file that its owner alone can read, and prints the public key.
    Keygen {
        /// The file, which must not be there yet
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Signs a component, with its manifest when that is what is given, in a file beside it: `PATH.sig`.
    Sign(SignArguments),
    /// Verifies the signature of a component. The exit code is 7 when it does not count.
    Verify(VerifyArguments),
    /// Reads the audit trails that `run --audit-trail` writes.
    #[command(after_help = exit_code::help())]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Exports, imports, copies, verifies, measures and compacts stores.
    ///
    /// Each command has the store for itself while it runs: it is refused while a host has the store open.
    #[command(after_help = exit_code::help())]
    Storage {
        #[command(subcommand)]
        command: StorageCommand,
    },
    /// Holds the engines and stores of this build to their contracts, and shows the verdicts.
    ///
    /// Without --engine and --store, all of them. The exit code is 9 when a contract is broken.
    Conformance(ConformanceArguments),
    /// Prints a completion script.
    Completions {
        /// The shell that the script is for.
        shell: Shell,
    },
}

/// What is signed, and with which key.
#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct SignArguments {
    /// A manifest (`Component.toml`), or a `.wasm` file that has none
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) path: PathBuf,

    /// The file of the secret key
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) key: PathBuf,
}

/// What is verified, and whose signature counts.
#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct VerifyArguments {
    /// A component, as it was signed: a manifest, or a `.wasm` file
    #[arg(value_name = "[ID=]PATH", value_hint = clap::ValueHint::FilePath,
          value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
    pub(crate) path: ComponentPath,

    /// The only key that counts
    #[arg(long, value_name = "KEY", required_unless_present = "rights", conflicts_with = "rights")]
    pub(crate) key: Option<PublicKey>,

    /// The file of rights that says whose signatures count
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) rights: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct RunArguments {
    /// A component: a `.wasm` file, or a manifest (`Component.toml`)
    ///
    /// The id of a `.wasm` file is --id, or the one in `ID=PATH`, or `local/` and the name of the file in kebab-case. A
    /// manifest has the id of its component. Components are started in this order. A path that could be read as
    /// `ID=PATH` is written with `./` before it.
    #[arg(required = true, value_name = "[ID=]PATH", value_hint = clap::ValueHint::FilePath,
          value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
    pub(crate) paths: Vec<ComponentPath>,

    /// The id of the only `.wasm` file
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<ComponentId>,

    /// A message to send; repeatable
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Messages")]
    pub(crate) message: Vec<String>,

    /// A file with a message on each line; `-` is standard input; repeatable
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Messages")]
    pub(crate) messages: Vec<PathBuf>,

    /// The component that messages are sent to; the one of the first PATH when not given
    ///
    /// Given once, it is for all messages. Given several times, each is for the messages that follow it on the command line.
    #[arg(long, value_name = "ID", help_heading = "Messages")]
    pub(crate) to: Vec<ComponentId>,

    /// What the messages are, for a component that accepts this alone: `application/json`; plain bytes when not given
    #[arg(long, value_name = "TYPE", help_heading = "Messages")]
    pub(crate) content_type: Option<ContentType>,

    /// Goes on after a message that failed; the exit code is that of the first failure
    #[arg(long, help_heading = "Messages")]
    pub(crate) keep_going: bool,

    /// Grants a capability to the component ID, or else to the one of the first PATH; repeatable
    ///
    /// For example `storage:acme/counter`, or `acme/relay=messaging:acme/*`.
    #[arg(long, value_name = "[ID=]CAPABILITY", help_heading = "Rights")]
    pub(crate) grant: Vec<Grant>,

    /// Grants everything that the manifests ask for
    #[arg(long, help_heading = "Rights")]
    pub(crate) grant_requested: bool,

    /// A file with what an operator decided about each component; see `airssys-wasm grants`
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Rights",
          conflicts_with = "grant_requested")]
    pub(crate) rights: Option<PathBuf>,

    /// Grants nothing, which is also the default
    #[arg(long, conflicts_with_all = ["grant", "grant_requested", "rights"], help_heading = "Rights")]
    pub(crate) deny_all: bool,

    /// Prints each decision about a right as a line of JSON on standard error
    #[arg(long, help_heading = "Rights")]
    pub(crate) audit: bool,

    /// Writes each decision about a right to the audit trail in this folder; see `airssys-wasm audit`
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath, help_heading = "Rights")]
    pub(crate) audit_trail: Option<PathBuf>,

    /// Sets a configuration key of the component ID, or else of the one of the first PATH; repeatable
    #[arg(long, value_name = "[ID:]KEY=VALUE", help_heading = "Settings")]
    pub(crate) config: Vec<ConfigEntry>,

    /// Sets an environment variable that the component ID finds, or else the one of the first PATH; repeatable. Components find
    /// no other variables
    #[arg(long, value_name = "[ID:]NAME=VALUE", help_heading = "Settings")]
    pub(crate) env: Vec<ConfigEntry>,

    /// Where components keep their state: `memory` (the default) or `KIND:PATH`, for example `redb:state.redb`
    #[arg(long, value_name = "STORE", help_heading = "Settings")]
    pub(crate) store: Option<stores::Place>,

    /// A file with the configuration of the host, `.toml` or `.json`; options win over it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Settings")]
    pub(crate) host_config: Option<PathBuf>,

    /// The engine that runs the components
    #[arg(long, value_name = "ENGINE", default_value = "wasmtime")]
    pub(crate) engine: Engine,

    /// A folder for compiled code, created when missing; without one, components are compiled at every run
    ///
    /// What is in there is run as machine code: a folder that others can write to is refused.
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, help_heading = "Settings")]
    pub(crate) code_cache: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// How long components may take to finish when the command ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Limits")]
    pub(crate) shutdown_timeout: Duration,

    /// How replies are written
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub(crate) output: Format,

    /// The least important lines of the log to show [default: info of components, warn of the host]
    #[arg(long, value_name = "LEVEL", help_heading = "Output")]
    pub(crate) log: Option<Level>,

    /// What to send, and to whom, in the order of the command line.
    #[arg(skip)]
    pub(crate) words: Vec<Word>,
}

/// Limits of all components, in place of those of manifests and of the host's configuration.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct LimitArguments {
    /// Time for one message, for the start, and for the end of a component: `250ms`, `5s`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    pub(crate) timeout: Option<Duration>,

    /// Instructions for one message
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) fuel: Option<NonZeroU64>,

    /// Memory of one component: `16MiB`
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) max_memory: Option<ByteSize>,
}

impl LimitArguments {
    /// Overrides what is given here.
    pub(crate) fn apply(&self, limits: &mut ResourceLimits) {
        if let Some(timeout) = self.timeout {
            limits.deadline = timeout;
        }
        if self.fuel.is_some() {
            limits.fuel = self.fuel;
        }
        if let Some(memory) = self.max_memory {
            limits.memory = memory;
        }
    }
}

#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct InspectArguments {
    /// A component: a `.wasm` file, or a manifest (`Component.toml`)
    #[arg(required_unless_present = "diff", value_name = "[ID=]PATH", value_hint = clap::ValueHint::FilePath,
          value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
    pub(crate) path: Option<ComponentPath>,

    /// Compares two versions of a component: capabilities, limits, content types, imports and exports
    ///
    /// Each is a `.wasm` file or a manifest. That something changed is no failure: the exit code is 0.
    #[arg(long, num_args = 2, action = ArgAction::Set, value_names = ["OLD", "NEW"], value_hint = clap::ValueHint::FilePath, conflicts_with = "path",
          value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
    pub(crate) diff: Vec<ComponentPath>,

    /// The engine that it is inspected for
    #[arg(long, value_name = "ENGINE", default_value = "wasmtime")]
    pub(crate) engine: Engine,

    /// How the result is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct ExplainArguments {
    /// A component: a `.wasm` file, or a manifest (`Component.toml`)
    #[arg(value_name = "[ID=]PATH", value_hint = clap::ValueHint::FilePath,
          value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
    pub(crate) path: ComponentPath,

    /// The file with what an operator decided
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) rights: Option<PathBuf>,

    /// The configuration of the host, with its mode and what it forbids
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) host_config: Option<PathBuf>,

    /// Asks the gate whether the component may do this: `storage:acme/counter`; repeatable
    #[arg(long, value_name = "ACCESS", value_parser = access::parse)]
    pub(crate) access: Vec<OwnedAccess>,

    /// How the result is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// What is done with an audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Reads a trail to its end, and finds every record that was changed, left out, doubled or moved
    ///
    /// That records were cut off at the end shows with --expect-head only: keep the head elsewhere. The exit code is 9 when something
    /// is wrong.
    Verify {
        /// The folder of the trail
        #[arg(value_hint = clap::ValueHint::DirPath)]
        folder: PathBuf,
        /// The hash of a record that was the last one once
        #[arg(long, value_name = "HASH")]
        expect_head: Option<Seal>,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Verifies a trail, and shows its last records
    Tail {
        /// The folder of the trail
        #[arg(value_hint = clap::ValueHint::DirPath)]
        folder: PathBuf,
        /// How many of those that are shown at all
        #[arg(short, long, value_name = "N", default_value_t = 20)]
        number: usize,
        /// Only those about this component
        #[arg(long, value_name = "ID")]
        component: Option<ComponentId>,
        /// Only those that tell this; repeatable
        #[arg(long, value_name = "ACT",
              value_parser = PossibleValuesParser::new([
                  "opened", "allowed", "denied", "installed", "granted", "revoked", "started", "ended", "stopped", "counted", "closed",
              ]))]
        act: Vec<String>,
        /// How they are written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

/// What is done with a file of rights.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantsCommand {
    /// Shows what was decided about every component, or about one
    List {
        /// The file of rights
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// Only this one
        component: Option<ComponentId>,
        /// How it is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Approves a component as it is now: its binary, and what its manifest asks for
    Approve {
        /// The file of rights; made when it is not there
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The component: a `.wasm` file, or a manifest (`Component.toml`)
        #[arg(value_name = "[ID=]PATH", value_hint = clap::ValueHint::FilePath,
              value_parser = OsStringValueParser::new().try_map(ComponentPath::parse))]
        path: ComponentPath,
        /// Grants only this of what it asks for, and declines the rest; repeatable
        #[arg(long, value_name = "CAPABILITY")]
        only: Vec<Capability>,
        /// When what is granted ends: `2027-01-31T12:00:00Z`
        #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
        until: Option<SystemTime>,
        /// How much its source is trusted from now on
        #[arg(long, value_name = "LEVEL")]
        trust: Option<Trust>,
        /// Approves whatever binary it will have, too
        #[arg(long)]
        any_binary: bool,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Denies a component: it does not run
    Deny {
        /// The file of rights; made when it is not there
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The component
        component: ComponentId,
        /// Why, for whoever asks
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Grants a capability
    Add {
        /// The file of rights; made when it is not there
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The component
        component: ComponentId,
        /// What is granted: `storage:acme/counter`
        capability: Capability,
        /// When it ends: `2027-01-31T12:00:00Z`
        #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
        until: Option<SystemTime>,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Replaces a grant by a narrower one
    Narrow {
        /// The file of rights
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The component
        component: ComponentId,
        /// What is granted now
        from: Capability,
        /// What is left of it
        to: Capability,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Takes a grant back
    Revoke {
        /// The file of rights
        #[arg(value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// The component
        component: ComponentId,
        /// What is taken back
        capability: Capability,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

impl GrantsCommand {
    /// How the result is written.
    pub(crate) const fn output(&self) -> Format {
        match self {
            Self::List { output, .. }
            | Self::Approve { output, .. }
            | Self::Deny { output, .. }
            | Self::Add { output, .. }
            | Self::Narrow { output, .. }
            | Self::Revoke { output, .. } => *output,
        }
    }
}

/// How much the source of a component is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trust {
    /// Nobody vouches for it: it waits for review when anything changes
    Unknown,
    /// What its manifest asks for is granted without a review
    Trusted,
    /// One's own work in progress: whatever is not forbidden is allowed
    Development,
}

impl From<Trust> for TrustLevel {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Unknown => Self::Unknown,
            Trust::Trusted => Self::Trusted,
            Trust::Development => Self::Development,
        }
    }
}

/// What is done with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Writes everything that a store holds to a file. Equal contents give equal files, whatever the store
    ///
    /// The file gets its name when it is whole. Beside it, `FILE.info.json` tells where the contents came from.
    Export {
        #[command(flatten)]
        store: StoreArguments,
        /// The file to write; nothing may be there yet
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Makes a store of an export
    ///
    /// The whole file is checked before anything is written, and the store gets its name when it is whole.
    Import {
        /// The file that an export wrote
        #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        store: StoreArguments,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Reads every record of a store, compares it with its checksum, and counts the usage anew
    ///
    /// Every problem is told, one a line. The exit code is 9 when there is one.
    Verify {
        #[command(flatten)]
        store: StoreArguments,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Shows what each namespace counts against its quota
    Usage {
        #[command(flatten)]
        store: StoreArguments,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        output: TableFormat,
    },
    /// Gives the room that deleted records left back to the file system
    Compact {
        #[command(flatten)]
        store: StoreArguments,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Copies a store into a new one, of the same or of another kind, and compares the two
    Copy {
        /// The store to read, such as `redb:state.redb`
        #[arg(long, value_name = "KIND:PATH")]
        from: StoreAt,
        /// The store to make; nothing may be there yet
        #[arg(long, value_name = "KIND:PATH")]
        to: StoreAt,
        /// How the result is written
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

/// Which store.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArguments {
    /// The file or folder of the store
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    path: PathBuf,

    /// The kind of the store
    #[arg(long, value_name = "KIND", default_value = stores::DEFAULT,
          value_parser = PossibleValuesParser::new(stores::names()).try_map(|name| stores::kind(&name)))]
    store: &'static StoreKind,
}

impl StoreArguments {
    /// The kind and the path.
    pub(crate) fn place(&self) -> StoreAt {
        StoreAt { kind: self.store, path: self.path.clone() }
    }
}

#[derive(Debug, Parser)]
#[command(after_help = exit_code::help())]
pub(crate) struct ConformanceArguments {
    /// An engine to judge; repeatable
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Vec<Engine>,

    /// A store to judge: `memory`, or a kind of store; repeatable
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Vec<stores::Judged>,

    /// Only the contracts whose ids hold this text
    #[arg(long, value_name = "ID")]
    pub(crate) filter: Option<String>,

    /// How the verdicts are written
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: ReportFormat,
}

/// How verdicts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people: a line for each contract, a column for each backend
    Table,
    /// For programs: one JSON object a line
    Json,
    /// For build servers: XML
    Junit,
    /// For documents
    Markdown,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// For people: columns; bytes that are not printable ASCII are escaped
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: text on one line each, control characters escaped; other bytes as `hex:` and digits
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// As `tracing` spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One of `--to`, `--message` and `--messages`, whose order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    To(ComponentId),
    Text(String),
    File(PathBuf),
}

/// The command line of this process. Ends the process where it is wrong, or asks for help.
pub(crate) fn parse() -> Arguments {
    from_matches(&Arguments::command().get_matches()).unwrap_or_else(|refused| refused.exit())
}

fn from_matches(matches: &ArgMatches) -> Result<Arguments, clap::Error> {
    let mut arguments = Arguments::from_arg_matches(matches)?;
    if let (Command::Run(run), Some((_, matches))) = (&mut arguments.command, matches.subcommand()) {
        run.words = words(run, matches);
    }
    Ok(arguments)
}

fn words(run: &RunArguments, matches: &ArgMatches) -> Vec<Word> {
    let places = |name| matches.indices_of(name).into_iter().flatten();
    let mut words: Vec<_> = places("to")
        .zip(run.to.iter().cloned().map(Word::To))
        .chain(places("message").zip(run.message.iter().cloned().map(Word::Text)))
        .chain(places("messages").zip(run.messages.iter().cloned().map(Word::File)))
        .collect();
    words.sort_by_key(|(place, _)| *place);
    words.into_iter().map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> RunArguments {
        let line = ["airssys-wasm", "run"].iter().chain(arguments);
        let parsed = from_matches(&Arguments::command().try_get_matches_from(line).unwrap()).unwrap();
        match parsed.command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn messages_and_targets_keep_their_order() {
        let run =
            run(&["a.wasm", "-m", "1", "--to", "t/b", "--messages", "-", "-m", "-2", "--to=t/c", "-m3"]);
        let to = |id: &str| Word::To(id.parse().unwrap());
        let text = |text: &str| Word::Text(text.to_owned());
        assert_eq!(
            run.words,
            [text("1"), to("t/b"), Word::File("-".into()), text("-2"), to("t/c"), text("3")]
        );
    }

    #[test]
    fn limits_override_what_is_given_and_nothing_else() {
        let mut limits = ResourceLimits::default();
        run(&["a.wasm", "--timeout", "200ms", "--fuel", "7"]).limits.apply(&mut limits);
        let expected = ResourceLimits {
            deadline: Duration::from_millis(200),
            fuel: NonZeroU64::new(7),
            ..ResourceLimits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn denying_all_excludes_grants() {
        for granted in [["--grant", "storage:a/b"].as_slice(), &["--grant-requested"]] {
            let line = ["airssys-wasm", "run", "a.wasm", "--deny-all"].iter().chain(granted);
            assert!(Arguments::command().try_get_matches_from(line).is_err());
        }
    }
}
