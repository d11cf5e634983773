//! The labels of the series that data points become.

use telemetry::METRIC_NAME;

use super::attributes::Attribute;
use super::names::push_label_name;
use super::options::TranslationStrategy;
use super::point::PointProblem;
use crate::error::quoted;
use crate::limits::Limits;
use crate::series_key::{SeriesKey, push_label};

/// Where a label comes from. Of labels of one name the highest origin wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A promoted resource attribute.
    Promoted,
    /// An attribute of the data point; values of several that get the same name are joined.
    Attribute,
    /// The instrumentation scope.
    Scope,
    /// `job` and `instance`, from the resource.
    Identity,
}

/// A part of [`PointLabels::text`].
#[derive(Clone, Copy, Debug, Default)]
struct Text {
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What the name was before it was translated.
    key: Text,
    name: Text,
    value: Text,
    origin: Origin,
    /// Order of arrival.
    index: usize,
}

/// Gathers the labels of one data point after the other over those of their resource and scope.
///
/// All texts are in one buffer and all labels in two lists, which serve the whole request.
#[derive(Debug)]
pub(super) struct PointLabels {
    strategy: TranslationStrategy,
    max_labels: usize,
    max_value_bytes: usize,
    text: String,
    /// Labels of the resource, then of the scope.
    base: Vec<Entry>,
    base_text: usize,
    resource_labels: usize,
    resource_text: usize,
    /// Labels of the data point; after [`finish`](Self::finish) sorted, with unique names, those of `base` included.
    point: Vec<Entry>,
    metric_name: String,
    key: Vec<u8>,
}

impl PointLabels {
    pub(super) fn new(strategy: TranslationStrategy, limits: &Limits) -> Self {
        Self {
            strategy,
            max_labels: limits.max_labels,
            max_value_bytes: limits.max_label_value_bytes,
            text: String::new(),
            base: Vec::new(),
            base_text: 0,
            resource_labels: 0,
            resource_text: 0,
            point: Vec::new(),
            metric_name: String::new(),
            key: Vec::new(),
        }
    }

    /// Forgets everything: labels added now belong to a resource.
    pub(super) fn start_resource(&mut self) {
        self.text.clear();
        self.base.clear();
        self.end_resource();
    }

    /// Labels added from now on do not belong to the resource.
    pub(super) fn end_resource(&mut self) {
        self.resource_labels = self.base.len();
        self.resource_text = self.text.len();
        self.end_scope();
    }

    /// Keeps what belongs to the resource: labels added now belong to a scope of it.
    pub(super) fn start_scope(&mut self) {
        self.base.truncate(self.resource_labels);
        self.text.truncate(self.resource_text);
        self.end_scope();
    }

    /// Labels added from now on do not belong to the scope.
    pub(super) fn end_scope(&mut self) {
        self.base_text = self.text.len();
        self.point.clear();
    }

    /// Keeps what belongs to resource and scope.
    pub(super) fn start_point(&mut self) {
        self.text.truncate(self.base_text);
        self.point.clear();
    }

    /// Adds a label to resource or scope, under a name that needs no translation.
    pub(super) fn push_base(&mut self, origin: Origin, name: &str, value: &str) -> Result<(), PointProblem> {
        let name = self.push_text(|text| text.push_str(name));
        let value = self.push_text(|text| text.push_str(value));
        self.check_count()?;
        self.base.push(Entry { key: name, name, value, origin, index: self.base.len() });
        Ok(())
    }

    /// Adds an attribute to resource or scope; `prefix` goes in front of its key.
    pub(super) fn push_base_attribute(
        &mut self,
        origin: Origin,
        prefix: &str,
        attribute: &Attribute<'_>,
    ) -> Result<(), PointProblem> {
        let entry = self.attribute(origin, prefix, attribute)?;
        self.base.push(entry);
        Ok(())
    }

    /// Adds an attribute to the data point.
    pub(super) fn push_attribute(&mut self, attribute: &Attribute<'_>) -> Result<(), PointProblem> {
        let entry = self.attribute(Origin::Attribute, "", attribute)?;
        self.point.push(entry);
        Ok(())
    }

    fn attribute(
        &mut self,
        origin: Origin,
        prefix: &str,
        attribute: &Attribute<'_>,
    ) -> Result<Entry, PointProblem> {
        self.check_count()?;
        let strategy = self.strategy;
        let (key, name) = if prefix.is_empty() {
            let name = self.push_text(|text| push_label_name(text, attribute.key, strategy));
            let is_key = self.part(name) == attribute.key;
            let key = if is_key { name } else { self.push_text(|text| text.push_str(attribute.key)) };
            (key, name)
        } else {
            let whole = [prefix, attribute.key].concat();
            let name = self.push_text(|text| push_label_name(text, &whole, strategy));
            (self.push_text(|text| text.push_str(&whole)), name)
        };
        let start = self.text.len();
        attribute.push_value(&mut self.text)?;
        let value = Text { start, end: self.text.len() };
        if value.end - value.start > self.max_value_bytes {
            return Err(PointProblem::AttributeTooLong {
                key: quoted(attribute.key),
                bytes: value.end - value.start,
                limit: self.max_value_bytes,
            });
        }
        Ok(Entry { key, name, value, origin, index: self.base.len() + self.point.len() })
    }

    fn push_text(&mut self, push: impl FnOnce(&mut String)) -> Text {
        let start = self.text.len();
        push(&mut self.text);
        Text { start, end: self.text.len() }
    }

    fn check_count(&self) -> Result<(), PointProblem> {
        if self.base.len() + self.point.len() >= self.max_labels {
            return Err(PointProblem::TooManyLabels { limit: self.max_labels });
        }
        Ok(())
    }

    /// Sorts the data point's labels together with those of resource and scope of at least the origin `lowest`.
    pub(super) fn finish(&mut self, lowest: Origin) {
        self.point.extend(self.base.iter().filter(|entry| entry.origin >= lowest));
        let text = self.text.as_str();
        let of = |part: Text| &text[part.start..part.end];
        self.point.sort_unstable_by(|a, b| {
            (of(a.name), b.origin, of(a.key), a.index).cmp(&(of(b.name), a.origin, of(b.key), b.index))
        });
        if self.point.windows(2).any(|pair| of(pair[0].name) == of(pair[1].name)) {
            self.merge_equal_names();
        }
    }

    /// Keeps one label of each name: that of the highest origin, or all attributes joined.
    fn merge_equal_names(&mut self) {
        let mut merged: Vec<Entry> = Vec::with_capacity(self.point.len());
        let mut rest = std::mem::take(&mut self.point);
        while let Some(&(mut kept)) = rest.first() {
            let is_same = |entry: &&Entry| self.part(entry.name) == self.part(kept.name);
            let same = rest.iter().take_while(is_same).count();
            let attributes = rest[..same].iter().filter(|entry| entry.origin == Origin::Attribute);
            if kept.origin == Origin::Attribute && same > 1 {
                let values: Vec<&str> = attributes.map(|entry| self.part(entry.value)).collect();
                let joined = values.join(";");
                kept.value = self.push_text(|text| text.push_str(&joined));
            }
            merged.push(kept);
            rest.drain(..same);
        }
        self.point = merged;
    }

    fn part(&self, part: Text) -> &str {
        &self.text[part.start..part.end]
    }

    /// Whether the finished labels have `name`.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.point.iter().any(|entry| self.part(entry.name) == name)
    }

    /// The key of the series with the finished labels, the metric name `family` + `suffix`, and `extra` labels, which ascend
    /// by name, come after `__name__`, and win.
    pub(super) fn key(&mut self, family: &str, suffix: &str, extra: &[(&str, &str)]) -> SeriesKey<'_> {
        self.metric_name.clear();
        self.metric_name.push_str(family);
        self.metric_name.push_str(suffix);
        self.key.clear();
        let of = |part: Text| &self.text[part.start..part.end];
        let name = (METRIC_NAME, self.metric_name.as_str());
        let mut extra = std::iter::once(name).chain(extra.iter().copied()).peekable();
        for entry in &self.point {
            let label = of(entry.name);
            while let Some((name, value)) = extra.next_if(|(name, _)| *name < label) {
                push_label(&mut self.key, name.as_bytes(), value.as_bytes());
            }
            if extra.peek().is_none_or(|(name, _)| *name != label) {
                push_label(&mut self.key, label.as_bytes(), of(entry.value).as_bytes());
            }
        }
        for (name, value) in extra {
            push_label(&mut self.key, name.as_bytes(), value.as_bytes());
        }
        self.last_key()
    }

    /// What [`key`](Self::key) returned last.
    pub(super) fn last_key(&self) -> SeriesKey<'_> {
        SeriesKey::new(&self.key)
    }
}
