//! Label sets. Lists of series are in label order, so most pairs of a set were also in the one before it: these are copied.

use telemetry::Labels;
use telemetry::labels::{common_prefix, split_canonical_pair};

use super::Json;

/// The label set that was written last.
#[derive(Default)]
pub(super) struct Before {
    /// In canonical form.
    text: String,
    /// Of each pair.
    ends: Vec<End>,
    /// Room for those of the next set.
    room: Vec<End>,
    /// Where its first pair begins in what was written.
    start: usize,
}

/// Where a pair ends.
#[derive(Clone, Copy)]
struct End {
    /// In the canonical text.
    text: usize,
    /// In what was written, the character after it included.
    written: usize,
}

impl Before {
    /// Where pair number `place` begins.
    fn begin(&self, place: usize) -> End {
        place.checked_sub(1).map_or(End { text: 0, written: self.start }, |before| self.ends[before])
    }

    /// How many pairs from number `place` on are the first ones of `text`.
    fn shared(&self, place: usize, text: &str) -> usize {
        let begin = self.begin(place).text;
        let until = begin + common_prefix(text.as_bytes(), &self.text.as_bytes()[begin..]);
        self.ends[place..].iter().take_while(|end| end.text <= until).count()
    }

    /// The number of the first pair from number `place` on whose name comes after `name`.
    fn after(&self, mut place: usize, name: &str) -> usize {
        while let Some((known, _, _)) = split_canonical_pair(&self.text[self.begin(place).text..])
            && known <= name
        {
            place += 1;
        }
        place
    }
}

impl Json {
    pub(in crate::http) fn labels(&mut self, labels: &Labels) {
        let text = labels.as_canonical();
        if text.is_empty() {
            return self.raw("{}");
        }
        let mut before = std::mem::take(&mut self.before);
        let mut ends = std::mem::take(&mut before.room);
        ends.clear();
        self.raw("{");
        let start = self.out.len();
        // How much of `text` is written, and how many pairs of the set before are passed.
        let (mut at, mut place) = (0, 0);
        while at < text.len() {
            let shared = before.shared(place, &text[at..]);
            if shared > 0 {
                let (from, to) = (before.begin(place), before.begin(place + shared));
                let end_of = |end: &End| End {
                    text: at + (end.text - from.text),
                    written: self.out.len() + (end.written - from.written),
                };
                ends.extend(before.ends[place..place + shared].iter().map(end_of));
                self.out.extend_from_within(from.written..to.written);
                // The last pair of a set is followed by another character.
                self.end_with(b',');
                (at, place) = (at + (to.text - from.text), place + shared);
                continue;
            }
            let Some((name, value, rest)) = split_canonical_pair(&text[at..]) else { break };
            self.string(name);
            self.raw(":");
            self.string(value);
            self.raw(",");
            (at, place) = (text.len() - rest.len(), before.after(place, name));
            ends.push(End { text: at, written: self.out.len() });
        }
        self.end_with(b'}');
        before.text.clear();
        before.text.push_str(text);
        self.before = Before { text: before.text, room: before.ends, ends, start };
    }

    /// Puts `byte` in the place of the last one.
    fn end_with(&mut self, byte: u8) {
        if let Some(last) = self.out.last_mut() {
            *last = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label_set() -> impl Strategy<Value = Labels> {
        let name = prop_oneof![3 => "[a-f]", 1 => "[a-f]{2}", 1 => "\\PC{1,3}"];
        let value = prop_oneof![4 => "[xy]", 1 => "[xy]{60,70}", 1 => "[\"\\\\\u{1}\u{9}ü]{1,9}"];
        prop::collection::btree_map(name, value, 0..8).prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
    }

    proptest! {
        /// Whatever sets come after each other, in order or not, each is written as if it were alone.
        #[test]
        fn label_sets_read_back(mut sets in prop::collection::vec(label_set(), 0..20), is_sorted in any::<bool>()) {
            if is_sorted {
                sets.sort();
            }
            let mut json = Json::new();
            json.list(&sets, |json, labels| {
                json.raw("{\"metric\":");
                json.labels(labels);
                json.raw(",\"more\":\"}\"}");
            });
            let alone = |labels: &Labels| {
                let pair = |(name, value)| format!("{}:{}", serde_json::json!(name), serde_json::json!(value));
                let pairs: Vec<String> = labels.iter().map(pair).collect();
                format!("{{\"metric\":{{{}}},\"more\":\"}}\"}}", pairs.join(","))
            };
            let expected: Vec<String> = sets.iter().map(alone).collect();
            let written = String::from_utf8(json.into_bytes()).unwrap();
            prop_assert_eq!(written, format!("[{}]", expected.join(",")));
        }
    }
}
