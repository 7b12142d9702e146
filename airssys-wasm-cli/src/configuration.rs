//! The host's configuration: options win over the file, and the file over defaults.

use std::fs;
use std::path::Path;

use airssys_wasm::core::config::HostConfig;

use crate::arguments::RunArguments;
use crate::diagnostics::Problem;

/// The configuration of the host for this command line.
pub(crate) fn host_config(arguments: &RunArguments) -> Result<HostConfig, Problem> {
    let mut config = arguments.host_config.as_deref().map(read).transpose()?.unwrap_or_default();
    if let Some(place) = &arguments.store {
        config.storage = place.clone().config(&config.storage);
    }
    if let Some(folder) = &arguments.code_cache {
        config.runtime.code_cache = Some(folder.clone());
    }
    arguments.limits.apply(&mut config.runtime.limits);
    Ok(config)
}

pub(crate) fn read(path: &Path) -> Result<HostConfig, Problem> {
    let refuse = |what: &str| Problem::usage(format!("the host configuration `{}` {what}", path.display()));
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let parse: fn(&str) -> Result<HostConfig, String> = match extension {
        "toml" => |text| toml::from_str(text).map_err(|refused| refused.to_string()),
        "json" => |text| serde_json::from_str(text).map_err(|refused| refused.to_string()),
        _ => {
            return Err(refuse("is neither `.toml` nor `.json`").advising("rename the file after its format"));
        }
    };
    let text = fs::read_to_string(path).map_err(|cause| {
        refuse("cannot be read").because(cause).advising("check the path and its permissions")
    })?;
    parse(&text).map_err(|cause| refuse("is not valid").because(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        match (read(&path), expected) {
            (Ok(config), Ok(memory)) => assert_eq!(config.runtime.limits.memory.to_string(), memory),
            (Err(problem), Err(expected)) => {
                let data = serde_json::to_string(&problem.data()).unwrap();
                assert!(data.contains(expected), "{data}");
            }
            (read, _) => panic!("{read:?}"),
        }
    }

    #[test]
    fn the_format_follows_the_extension() {
        check("a.toml", "[runtime.limits]\nmemory = \"2 MiB\"", Ok("2 MiB"));
        check("a.json", r#"{"runtime": {"limits": {"memory": "2 MiB"}}}"#, Ok("2 MiB"));
        check("a.yaml", "", Err("is neither `.toml` nor `.json`"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_meant() {
        check("a.toml", "[runtim]", Err("did you mean `runtime` instead of `runtim`?"));
        check("a.toml", "[runtime.limits]\nmemroy = 1", Err("did you mean `memory` instead of `memroy`?"));
        check("a.json", r#"{"security": {"mod": "strict"}}"#, Err("did you mean `mode` instead of `mod`?"));
        check("a.toml", "[storage]\nbackend = \"rebd\"", Err("did you mean `redb` instead of `rebd`?"));
    }
}
