//! One access, as it is written on a command line: a capability without wildcards.

use airssys_wasm::core::capability::{Access, Capability};

/// An access with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedAccess {
    kind: String,
    object: String,
    /// The port, or the object of a custom permission.
    rest: String,
}

/// Reads `kind:object`.
///
/// # Errors
/// What is wrong, and how to write it.
pub(crate) fn parse(text: &str) -> Result<OwnedAccess, String> {
    let refused = |why: &str| format!("`{text}` is not one access: {why}, such as `storage:acme/counter`");
    text.parse::<Capability>().map_err(|invalid| invalid.to_string())?;
    let (kind, object) = text.split_once(':').ok_or_else(|| refused("write `KIND:OBJECT`"))?;
    if object.contains('*') {
        return Err(refused("it has a wildcard; name what is used"));
    }
    let (object, rest) = match kind {
        "network-outbound" | "network-inbound" => {
            let (host, port) = object.rsplit_once(':').ok_or_else(|| refused("it has no port"))?;
            port.parse::<u16>().map_err(|_| refused("the port is no number"))?;
            (host, port)
        }
        "custom" => object.rsplit_once('/').ok_or_else(|| refused("it has no `/`"))?,
        _ => (object, ""),
    };
    let access = OwnedAccess { kind: kind.to_owned(), object: object.to_owned(), rest: rest.to_owned() };
    // Whatever is not understood here must not be taken for something else.
    if access.access().is_well_formed() { Ok(access) } else { Err(refused("it is not well formed")) }
}

impl OwnedAccess {
    pub(crate) fn access(&self) -> Access<'_> {
        let (object, rest) = (self.object.as_str(), self.rest.as_str());
        let port = rest.parse().unwrap_or(0);
        match self.kind.as_str() {
            "file-read" => Access::FileRead { path: object },
            "file-write" => Access::FileWrite { path: object },
            "network-outbound" => Access::NetworkOutbound { host: object, port },
            "network-inbound" => Access::NetworkInbound { host: object, port },
            "storage" => Access::Storage { namespace: object },
            "process-spawn" => Access::ProcessSpawn { program: object },
            "messaging" => Access::Messaging { address: object },
            _ => Access::Custom { name: object, object: rest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_what_its_capability_allows() {
        for text in [
            "file-read:/data/a.txt",
            "file-write:/data/a.txt",
            "network-outbound:api.example.com:443",
            "network-inbound:127.0.0.1:80",
            "storage:acme/counter",
            "process-spawn:/usr/bin/env",
            "messaging:acme/greeter",
            "messaging:news.today",
            "custom:acme:geo/lookup",
        ] {
            let access = parse(text).unwrap();
            assert!(text.parse::<Capability>().unwrap().allows(&access.access()), "{text}");
            assert_eq!(access.access().to_string(), text);
        }
        for refused in
            ["", "storage", "storage:acme/*", "storge:acme/counter", "network-outbound:a.example.com:*"]
        {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }
}
