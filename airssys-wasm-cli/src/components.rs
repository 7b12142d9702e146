//! The components of a command line: who they are, where they are, and what they are given.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use airssys_wasm::Installation;
use airssys_wasm::core::capability::Capability;
use airssys_wasm::core::component::{ArtifactDigest, ComponentConfig, ComponentId, Environment};
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::manifest::{Manifest, Wish};
use airssys_wasm::rights::{Decision, Rights};
use airssys_wasm::signature::{Signature, SignaturePolicy, Signatures, Statement};
use sha2::{Digest, Sha256};

use crate::arguments::RunArguments;
use crate::audit_lines::Denial;
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::suggestions::did_you_mean;
use crate::text;
use crate::values::ComponentPath;
use crate::{explain, inspect};

/// One component, before it is installed.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) id: ComponentId,
    /// Its binary.
    pub(crate) wasm: PathBuf,
    pub(crate) manifest: Option<Manifest>,
    wishes: Vec<Wish>,
    /// As it was given: the manifest, or the binary.
    path: PathBuf,
}

impl Candidate {
    /// Reads the manifest, where there is one, and finds the id.
    pub(crate) fn find(component: &ComponentPath) -> Result<Self, Problem> {
        let ComponentPath { id, path } = component;
        if path.extension() != Some(OsStr::new("toml")) {
            let id = id.clone().map_or_else(|| derived_id(path), Ok)?;
            let (wasm, path) = (path.clone(), path.clone());
            return Ok(Self { id, wasm, manifest: None, wishes: Vec::new(), path });
        }
        let manifest = Manifest::read(path).map_err(input_problem)?;
        if let Some(id) = id {
            let (path, own) = (path.display(), &manifest.package.id);
            return Err(Problem::usage(format!("`{id}={path}` gives another id to `{own}`"))
                .advising("a manifest has the id of its component: leave the id out, or change it there"));
        }
        Ok(Self {
            id: manifest.package.id.clone(),
            wasm: manifest.package.component.clone(),
            wishes: manifest.wishes(),
            manifest: Some(manifest),
            path: path.clone(),
        })
    }

    /// As it was given: the manifest, or the binary.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file beside it that its signature is in.
    pub(crate) fn signature_file(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".sig");
        name.into()
    }

    /// Its signature, where the policy asks for one. One that is only warned of, and cannot be read, is none.
    pub(crate) fn signature(&self, policy: SignaturePolicy) -> Result<Option<Signature>, Problem> {
        match policy {
            SignaturePolicy::Off => Ok(None),
            SignaturePolicy::Require => Signature::read(&self.signature_file()).map_err(input_problem),
            SignaturePolicy::Warn => Ok(Signature::read(&self.signature_file()).ok().flatten()),
        }
    }

    /// What a signature of it is about.
    pub(crate) fn statement(&self, digest: ArtifactDigest) -> Statement {
        Statement::about(digest, self.manifest.as_ref().map(Manifest::digest))
    }

    /// What the author asks for.
    pub(crate) fn wishes(&self) -> &[Wish] {
        &self.wishes
    }
}

/// What identifies a binary.
pub(crate) fn digest_of(wasm: &[u8]) -> ArtifactDigest {
    ArtifactDigest::from_bytes(Sha256::digest(wasm).into())
}

/// `local/` and the name of the file.
fn derived_id(path: &Path) -> Result<ComponentId, Problem> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    format!("local/{}", text::kebab(&stem)).parse().map_err(|refused| {
        Problem::usage(format!("no id can be made from the name of `{}`", path.display()))
            .because(refused)
            .advising(format!("give it one: `ID={}`", path.display()))
    })
}

/// A file that cannot be read is wrong usage; what is wrong with its content says the error itself.
pub(crate) fn input_problem(error: airssys_wasm::WasmError) -> Problem {
    let unreadable = error.kind() == ErrorKind::Io;
    let problem = Problem::from(error);
    if unreadable { problem.exiting(Exit::Usage) } else { problem }
}

/// The components of a command line, in its order, and what each was given there.
#[derive(Debug)]
pub(crate) struct Plan(Vec<Planned>, Signatures);

#[derive(Debug)]
struct Planned {
    candidate: Candidate,
    grants: Vec<Capability>,
    config: ComponentConfig,
    environment: Environment,
    /// What the operator's file says.
    decision: Option<Decision>,
    signature: Option<Signature>,
}

impl Plan {
    /// Reads the manifests, and hands out grants and configuration.
    pub(crate) fn make(arguments: &RunArguments) -> Result<Self, Problem> {
        let mut plan = Self(Vec::new(), Signatures::default());
        for path in named_paths(arguments)? {
            plan.add(Candidate::find(&path)?)?;
        }
        if let Some(file) = &arguments.rights {
            plan.admit(file)?;
        }
        if arguments.grant_requested {
            plan.grant_requested()?;
        }
        for grant in &arguments.grant {
            plan.find_or_first(grant.component.as_ref())?.grants.push(grant.capability.clone());
        }
        for entry in &arguments.config {
            let planned = plan.find_or_first(entry.component.as_ref())?;
            planned.config = std::mem::take(&mut planned.config).with(&entry.key, &entry.value);
        }
        for entry in &arguments.env {
            let planned = plan.find_or_first(entry.component.as_ref())?;
            let environment = std::mem::take(&mut planned.environment).variable(&entry.key, &entry.value);
            planned.environment = environment.map_err(|refused| {
                Problem::usage(format!("`--env {}`: {refused}", entry.key))
                    .advising("write `--env NAME=VALUE`")
            })?;
        }
        Ok(plan)
    }

    fn add(&mut self, candidate: Candidate) -> Result<(), Problem> {
        if let Some(Planned { candidate: first, .. }) =
            self.0.iter().find(|other| other.candidate.id == candidate.id)
        {
            let (id, first, second) = (&candidate.id, first.wasm.display(), candidate.wasm.display());
            return Err(Problem::usage(format!("`{first}` and `{second}` have the same id, `{id}`"))
                .advising(format!("give one of them another: `ID={second}`")));
        }
        let config = candidate.manifest.as_ref().map(|manifest| manifest.config.clone()).unwrap_or_default();
        let environment = Environment::new();
        self.0.push(Planned {
            candidate,
            grants: Vec::new(),
            config,
            environment,
            decision: None,
            signature: None,
        });
        Ok(())
    }

    /// Gives each what the operator's file says, and refuses who waits for review.
    fn admit(&mut self, file: &Path) -> Result<(), Problem> {
        let rights = Rights::read(file).map_err(input_problem)?;
        self.1 = rights.signatures.clone();
        for planned in &mut self.0 {
            let Candidate { id, wasm, .. } = &planned.candidate;
            let digest = digest_of(&inspect::read(wasm).map_err(input_problem)?);
            let decision = rights.admit(id, &digest, planned.candidate.wishes()).map_err(|review| {
                let path = planned.candidate.path();
                Problem::usage(format!("`{id}` may not run: {review}"))
                    .exiting(Exit::Denied)
                    .advising(format!("to see what it asks for: {}", explain::explain_command(file, path)))
                    .advising(format!("to approve it: {}", explain::approve(file, path)))
            })?;
            planned.decision = Some(decision);
            planned.signature = planned.candidate.signature(rights.signatures.policy_for(id))?;
        }
        Ok(())
    }

    fn grant_requested(&mut self) -> Result<(), Problem> {
        if self.0.iter().all(|planned| planned.candidate.manifest.is_none()) {
            return Err(Problem::usage(
                "nothing is requested: `--grant-requested` is about manifests, and none is given",
            )
            .advising("run a `Component.toml`, or grant with `--grant CAPABILITY`"));
        }
        for planned in &mut self.0 {
            planned.grants.extend(planned.candidate.wishes().iter().map(|wish| wish.capability.clone()));
        }
        Ok(())
    }

    fn find_or_first(&mut self, id: Option<&ComponentId>) -> Result<&mut Planned, Problem> {
        let position = id.map_or(Ok(0), |id| self.position(id).map_err(Problem::usage))?;
        Ok(&mut self.0[position])
    }

    /// The place of a component; otherwise a sentence that says what may have been meant.
    pub(crate) fn position(&self, id: &ComponentId) -> Result<usize, String> {
        self.0.iter().position(|planned| planned.candidate.id == *id).ok_or_else(|| {
            let near = did_you_mean(id.as_str(), self.ids().map(ComponentId::as_str));
            format!("unknown component `{id}`{near}")
        })
    }

    /// Whose signatures count.
    pub(crate) fn signatures(&self) -> Signatures {
        self.1.clone()
    }

    /// The component of the first PATH.
    pub(crate) fn first(&self) -> &ComponentId {
        &self.0[0].candidate.id
    }

    /// Every component, in the order of the command line.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ComponentId> {
        self.0.iter().map(|planned| &planned.candidate.id)
    }

    /// What the host is to install.
    pub(crate) fn installations(&self, arguments: &RunArguments) -> impl Iterator<Item = Installation> {
        self.0.iter().map(|planned| {
            let installation = match &planned.candidate.manifest {
                Some(manifest) => manifest.installation(),
                None => Installation::new(planned.candidate.id.clone(), planned.candidate.wasm.clone()),
            };
            let installation = installation
                .config(planned.config.clone())
                .environment(planned.environment.clone())
                .grant_all(planned.grants.iter().cloned());
            let installation = match &planned.decision {
                Some(decision) => decision.apply(installation),
                None => installation,
            };
            let installation = match &planned.signature {
                Some(signature) => installation.signed(signature.clone()),
                None => installation,
            };
            let decided = planned.decision.as_ref().and_then(|decision| decision.limits.clone());
            let asked = || planned.candidate.manifest.as_ref().and_then(|manifest| manifest.limits.clone());
            let own_limits = decided.or_else(asked);
            match own_limits {
                Some(mut limits) => {
                    arguments.limits.apply(&mut limits);
                    installation.limits(limits)
                }
                None => installation,
            }
        })
    }

    /// The option, or the command on the file of rights, that would allow what was denied.
    pub(crate) fn grant_option(&self, denial: &Denial, rights: Option<&Path>) -> Option<String> {
        let capability = denial.capability.as_ref()?;
        if let Some(file) = rights {
            return Some(format!(
                "to allow it: {}",
                explain::add_command(file, &denial.component, capability)
            ));
        }
        let word = if denial.component == *self.first() {
            text::shell_word(capability)
        } else {
            text::shell_word(&format!("{}={capability}", denial.component))
        };
        Some(format!("to allow it, add: --grant {word}"))
    }
}

/// The paths, with `--id` given to the only one.
fn named_paths(arguments: &RunArguments) -> Result<Vec<ComponentPath>, Problem> {
    let mut paths = arguments.paths.clone();
    let Some(id) = &arguments.id else { return Ok(paths) };
    match paths.as_mut_slice() {
        [only] if only.id.is_none() => {
            only.id = Some(id.clone());
            Ok(paths)
        }
        [_] => {
            Err(Problem::usage("the id is given twice: with `--id` and with `ID=PATH`")
                .advising("leave one out"))
        }
        _ => Err(Problem::usage("`--id` is for a single component, and there are several")
            .advising("write each as `ID=PATH`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_derived_from_names_of_files() {
        let check =
            |path: &str, expected: &str| assert_eq!(derived_id(Path::new(path)).unwrap().as_str(), expected);
        check("target/wasi_clock.wasm", "local/wasi-clock");
        check("MyCounter.wasm", "local/my-counter");
        for refused in ["2048.wasm", "ÄÖ.wasm", "/"] {
            assert!(derived_id(Path::new(refused)).is_err(), "{refused} was accepted");
        }
    }
}
