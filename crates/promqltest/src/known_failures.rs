//! The list of what does not pass.

use std::collections::BTreeMap;

/// (file, line of the command) to the reason.
pub(crate) struct KnownFailures {
    commands: BTreeMap<(String, usize), String>,
}

impl KnownFailures {
    /// Reads the list: a command a line, `file.test:line: reason`; `#` begins a comment.
    pub(crate) fn parse(list: &str) -> Self {
        let mut commands = BTreeMap::new();
        let lines = list.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut parts = line.splitn(3, ':');
            let (Some(file), Some(number), Some(reason)) = (parts.next(), parts.next(), parts.next()) else {
                panic!("known failures: a line is not `file:line: reason`: {line}");
            };
            assert!(!reason.trim().is_empty(), "known failures: no reason: {line}");
            commands.insert((file.to_owned(), number.parse().unwrap()), reason.trim().to_owned());
        }
        Self { commands }
    }

    pub(crate) fn contains(&self, file: &str, line: usize) -> bool {
        self.commands.contains_key(&(file.to_owned(), line))
    }

    pub(crate) fn lines_of(&self, file: &str) -> Vec<usize> {
        self.commands.keys().filter(|(candidate, _)| candidate == file).map(|(_, line)| *line).collect()
    }
}
