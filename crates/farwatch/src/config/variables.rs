//! Variables of the environment that look like settings and are none: mostly a setting with a letter wrong, which without a word
//! would be as if it had not been set.

use super::{FILE_VARIABLE, file, settings};

const PREFIX: &str = "FARWATCH_";

/// What commands read and `serve` does not.
const OF_COMMANDS: [&str; 4] = ["FARWATCH_URL", "FARWATCH_KEY", "FARWATCH_KEY_FILE", "FARWATCH_SESSION_FILE"];

/// What Kubernetes sets in every container beside a service that is called `farwatch`.
const OF_KUBERNETES: [&str; 3] = ["FARWATCH_SERVICE_", "FARWATCH_PORT", "FARWATCH_PORT_"];

/// Which of these variables are meant for Farwatch and unknown to it, each with the one that is much like it. Values are not looked
/// at.
pub fn unknown(names: impl Iterator<Item = String>) -> Vec<(String, Option<String>)> {
    let mut unknown: Vec<_> = names
        .filter(|name| name.starts_with(PREFIX))
        .filter(|name| name != FILE_VARIABLE && !OF_COMMANDS.contains(&name.as_str()))
        .filter(|name| !settings().any(|setting| setting.variable() == *name))
        .filter(|name| !is_of_kubernetes(name))
        .map(|name| {
            let nearest = file::nearest(&name[PREFIX.len()..]);
            let nearest = settings().find(|setting| Some(setting.name()) == nearest);
            (name, nearest.map(|setting| setting.variable()))
        })
        .collect();
    unknown.sort();
    unknown
}

fn is_of_kubernetes(name: &str) -> bool {
    OF_KUBERNETES.iter().any(|known| name == *known || (known.ends_with('_') && name.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_setting_is_found_with_what_was_meant() {
        let names = [
            "PATH",
            "FARWATCH_LISTEN",
            "FARWATCH_CONFIG",
            "FARWATCH_KEY",
            "FARWATCH_SERVICE_HOST",
            "FARWATCH_PORT",
            "FARWATCH_PORT_9600_TCP",
            "FARWATCH_LISTN",
            "FARWATCH_PORTS_OPEN",
        ];
        let found = unknown(names.into_iter().map(str::to_owned));
        let expected = [("FARWATCH_LISTN", Some("FARWATCH_LISTEN")), ("FARWATCH_PORTS_OPEN", None)];
        assert_eq!(found, expected.map(|(name, meant)| (name.to_owned(), meant.map(str::to_owned))));
    }
}
