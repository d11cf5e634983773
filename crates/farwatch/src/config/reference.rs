//! The reference of all settings, made of their definitions.

use std::fmt::Write as _;

use super::TOPICS;

/// Where the checked-in reference lies, from the root of the repository.
pub const PATH: &str = "docs/configuration.md";

/// The reference as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         This page is printed by `farwatch config reference`; a test holds it to the code.\n\n\
         Each setting of `farwatch serve` can be given in three ways, and they mean the same. A flag wins over an environment\n\
         variable, which wins over the file that `--config FILE` or `FARWATCH_CONFIG` names. The file is TOML, its keys are the\n\
         names below, and a key that is no setting is an error; of a variable `FARWATCH_…` that is none, `serve` warns:\n\n\
         ```toml\n\
         data-dir = \"/var/lib/farwatch\"\n\
         listen = \"0.0.0.0:9600\"\n\
         out-of-order-window = \"2d\"\n\
         ```\n",
    );
    for topic in TOPICS {
        let _ = write!(out, "\n## {}\n", heading(topic.doc));
        for setting in topic.settings {
            let default = if setting.default.is_empty() {
                "not set".to_owned()
            } else {
                format!("`{}`", setting.default)
            };
            let _ = write!(
                out,
                "\n### `{name}`\n\n{doc}\n\n- flag: `--{name} {value}`\n- variable: `{variable}`\n- default: {default}\n",
                name = setting.name(),
                doc = setting.doc_text(),
                value = setting.value_name,
                variable = setting.variable(),
            );
        }
    }
    out
}

fn heading(doc: &str) -> &str {
    doc.trim().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == markdown(),
            "{PATH} differs from the code; run `cargo run -- config reference > {PATH}`"
        );
    }
}
