//! The list of cases that do not pass yet.

use std::collections::BTreeMap;

/// (file, line of the case) to the reason.
pub(crate) struct KnownFailures {
    cases: BTreeMap<(String, usize), String>,
}

impl KnownFailures {
    /// Reads the list: a case a line, `file.test:line: reason`; `#` begins a comment.
    pub(crate) fn load() -> Self {
        let mut cases = BTreeMap::new();
        let lines = include_str!("known_failures.txt").lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut parts = line.splitn(3, ':');
            let (Some(file), Some(number), Some(reason)) = (parts.next(), parts.next(), parts.next()) else {
                panic!("known_failures.txt: a line is not `file:line: reason`: {line}");
            };
            assert!(!reason.trim().is_empty(), "known_failures.txt: no reason: {line}");
            cases.insert((file.to_owned(), number.parse().unwrap()), reason.trim().to_owned());
        }
        Self { cases }
    }

    pub(crate) fn contains(&self, file: &str, line: usize) -> bool {
        self.cases.contains_key(&(file.to_owned(), line))
    }

    pub(crate) fn lines_of(&self, file: &str) -> Vec<usize> {
        self.cases.keys().filter(|(candidate, _)| candidate == file).map(|(_, line)| *line).collect()
    }
}
