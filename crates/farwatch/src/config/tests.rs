use std::time::Duration;

use super::value::Bound;
use super::*;

fn load(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("farwatch.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    Config::load(&Sources {
        flags: flags.iter().map(|(field, text)| (*field, (*text).to_owned())).collect(),
        file: file.map(|_| path.clone()),
        variable: &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        },
    })
}

#[test]
fn defaults_stand_alone() {
    let config = load(&[], &[], None).unwrap();
    assert_eq!(config.listen.listen.as_str(), "127.0.0.1:9600");
    assert_eq!(config.ingest.out_of_order_window, Bound::Within(Duration::from_secs(7 * 86_400)));
    assert!(config.storage.bucket.is_none());
}

#[test]
fn a_flag_wins_over_a_variable_which_wins_over_the_file() {
    let file = Some("listen = \"f:1\"\nlog = \"warn\"\nlog-format = \"json\"\n");
    let variables = [("FARWATCH_LISTEN", "v:2"), ("FARWATCH_LOG", "debug")];
    let config = load(&[("listen", "c:3")], &variables, file).unwrap();
    assert_eq!(config.listen.listen.as_str(), "c:3");
    assert_eq!(config.log.log.as_str(), "debug");
    assert_eq!(config.log.log_format, topics::LogFormat::Json);
}

#[test]
fn errors_name_the_setting_its_origin_and_what_it_must_be() {
    let cases = [
        (load(&[("listen", "nowhere")], &[], None), "\"nowhere\" on the command line"),
        (load(&[], &[("FARWATCH_ROLE", "x")], None), "in the environment (FARWATCH_ROLE)"),
        (load(&[], &[], Some("linger = \"soon\"")), "farwatch.toml; it must be a duration"),
        (load(&[], &[], Some("data_dir = \"x\"")), "did you mean \"data-dir\""),
        (load(&[], &[], Some("listen = 1.5")), "gives \"listen\" a float"),
        (load(&[], &[], Some("listen = ")), "is not valid TOML"),
    ];
    for (result, expected) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

#[test]
fn an_empty_variable_is_none() {
    let config =
        load(&[], &[("FARWATCH_LISTEN", ""), ("FARWATCH_CONFIG", "")], Some("listen = \"f:1\"")).unwrap();
    assert_eq!(config.listen.listen.as_str(), "f:1");
}

#[test]
fn an_endpoint_is_one_of_s3() {
    let endpoint = ("s3_endpoint", "http://127.0.0.1:9000");
    assert!(load(&[endpoint, ("bucket", "s3://b")], &[], None).is_ok());
    for more in [&[endpoint][..], &[endpoint, ("bucket", "file:///b")]] {
        let message = load(more, &[], None).unwrap_err().to_string();
        assert!(message.contains("s3-endpoint") && message.contains("s3://"), "{message}");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<String> = settings().map(Setting::name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
