//! The command line. Parsing only checks what can be checked without doing anything.

pub mod account;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory as _, Parser, Subcommand};

use crate::config;
use account::{
    CreateTenantArgs, InvoiceCommand, KeysCommand, LogInArgs, PlacementCommand, QuotaCommand,
    RenameTenantArgs, SignUpArgs, WhichOrganisation,
};

/// Hosted observability on object storage: metrics in by remote write and OTLP, PromQL out.
#[derive(Debug, Parser)]
#[command(name = "farwatch", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run Farwatch: take writes and answer queries
    Serve(ServeArgs),
    /// Run the control plane alone: accounts, API keys and limits. The same as `serve --role control-plane`
    ControlPlane(ServeArgs),
    /// Ask a running Farwatch a PromQL question and show the answer here
    Query(QueryArgs),
    /// Make an account with a running Farwatch
    Signup(SignUpArgs),
    /// Log in; the other commands of an account go by it
    Login(LogInArgs),
    /// End the session of `farwatch login`
    Logout,
    /// Make, show, exchange and revoke the API keys of a tenant
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show and set the limits of a tenant
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Bring stored data to rest: few large objects of many small ones, nothing left to merge
    Compact(CompactArgs),
    /// Tell what was stored, by tenant and hour: each sample once, however often it was sent. Who is logged in sees the own
    /// organisation's; with --data-dir or --bucket, or without a login, it is read from stored data
    Usage(UsageArgs),
    /// Show invoices and how to pay them
    #[command(subcommand)]
    Invoice(InvoiceCommand),
    /// Compute an invoice anew from the ledger, to the cent; exits with 1 when it states anything else
    VerifyInvoice(VerifyInvoiceArgs),
    /// Show and choose where tenants are: away from where their production runs
    #[command(subcommand)]
    Placement(PlacementCommand),
    /// Show, make, rename and delete tenants; delete a tenant's stored data, and show that none is left
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Look into segments, the objects that hold telemetry
    #[command(subcommand)]
    Segment(SegmentCommand),
    /// Tell what can be configured
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Flags of `farwatch serve`: every setting of [`config`], and the file to read the others from.
#[derive(Debug)]
pub struct ServeArgs {
    /// The file that `--config` names.
    pub config_file: Option<PathBuf>,
    /// What was given, as (setting's field name, text).
    pub flags: Vec<(&'static str, String)>,
}

/// The flag that names the configuration file.
const CONFIG_FLAG: &str = "config";

impl Args for ServeArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new(CONFIG_FLAG)
            .long(CONFIG_FLAG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("TOML file with settings [env: {}]", config::FILE_VARIABLE));
        config::settings().fold(command.arg(file), |command, setting| {
            let mut help = format!("{} [env: {}]", setting.doc_text(), setting.variable());
            if !setting.default.is_empty() {
                help.push_str(&format!(" [default: {}]", setting.default));
            }
            command.arg(
                Arg::new(setting.field)
                    .long(setting.name())
                    .value_name(setting.value_name)
                    .action(ArgAction::Set)
                    .help(help),
            )
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = config::settings()
            .filter_map(|setting| {
                matches.get_one::<String>(setting.field).map(|text| (setting.field, text.clone()))
            })
            .collect();
        Ok(Self { config_file: matches.get_one::<PathBuf>(CONFIG_FLAG).cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Arguments of `farwatch query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The question, in PromQL
    pub promql: String,
    /// Where Farwatch, or any server with Prometheus's HTTP API, is
    /// [env: FARWATCH_URL] [default: http://127.0.0.1:9600]
    #[arg(long)]
    pub url: Option<String>,
    /// API key to ask with [env: FARWATCH_KEY]
    #[arg(long, conflicts_with = "key_file")]
    pub key: Option<String>,
    /// File that holds the API key [env: FARWATCH_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Ask for this long up to the end, and draw the answer
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "start")]
    pub range: Option<std::time::Duration>,
    /// Ask from this time on, and draw the answer: RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Ask for this time, or up to it: RFC 3339 or Unix seconds [default: now]
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// Time between two points of the answer [default: as fits the terminal]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub step: Option<std::time::Duration>,
    /// Print the server's answer as it came
    #[arg(long)]
    pub json: bool,
}

impl QueryArgs {
    /// Takes from the environment what no flag gives. A key given by a flag, in whichever way, wins over both variables; of
    /// these the key wins over the file. An empty variable counts as not set.
    pub fn fill_from(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        self.url = self.url.take().or_else(|| variable("FARWATCH_URL"));
        if self.key.is_none() && self.key_file.is_none() {
            self.key = variable("FARWATCH_KEY");
        }
        if self.key.is_none() && self.key_file.is_none() {
            self.key_file = variable("FARWATCH_KEY_FILE").map(PathBuf::from);
        }
    }
}

impl SegmentArgs {
    /// Takes from the environment what no flag gives. An empty variable counts as not set.
    pub fn fill_from(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        self.bucket = self.bucket.take().or_else(|| variable("FARWATCH_BUCKET"));
        // Of another bucket's server nothing is to be asked.
        if self.bucket.as_ref().is_some_and(|bucket| bucket.starts_with("s3://")) {
            self.s3_endpoint = self.s3_endpoint.take().or_else(|| variable("FARWATCH_S3_ENDPOINT"));
        }
    }
}

/// Which data.
#[derive(Clone, Debug, Args)]
pub struct StorageArgs {
    /// Directory of a server's data; without --bucket, data is in its folder `bucket`
    /// [env: FARWATCH_DATA_DIR] [default: farwatch-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Bucket that holds the data: file://DIR or s3://NAME[/PREFIX] [env: FARWATCH_BUCKET]
    #[arg(long, value_name = "URL")]
    pub bucket: Option<String>,
    /// Endpoint of an S3 server that is not Amazon's [env: FARWATCH_S3_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,
}

impl StorageArgs {
    /// Takes from the environment what no flag gives. An empty variable counts as not set.
    pub fn fill_from(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        // Who names the directory means what is in it.
        if self.data_dir.is_none() {
            self.bucket = self.bucket.take().or_else(|| variable("FARWATCH_BUCKET"));
        }
        self.data_dir = self.data_dir.take().or_else(|| variable("FARWATCH_DATA_DIR").map(PathBuf::from));
        // Of another bucket's server nothing is to be asked.
        if self.bucket.as_ref().is_some_and(|bucket| bucket.starts_with("s3://")) {
            self.s3_endpoint = self.s3_endpoint.take().or_else(|| variable("FARWATCH_S3_ENDPOINT"));
        }
    }
}

/// Arguments of `farwatch compact`.
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// Where the data is.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Do everything there is to do, and end; in the background, `farwatch serve` does what is worth its cost. What is older than
    /// its tenant's retention is deleted, where the data directory is named, which has the key to the tenant directory
    #[arg(long, required = true)]
    pub once: bool,
    /// How long objects that are not needed any more are kept, for readers that still look at them; 0s only when nobody does
    /// [default: 10m, or 0s when no server runs on the data directory]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<std::time::Duration>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which data, and who it belongs to.
#[derive(Clone, Debug, Args)]
pub struct RecordsArgs {
    /// Where the data is.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Of stored data: the control plane's database, which knows the names of tenants
    /// [env: FARWATCH_DATABASE_URL] [default: the one in the data directory]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
}

impl RecordsArgs {
    /// Takes from the environment what no flag gives. An empty variable counts as not set.
    pub fn fill_from(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        self.storage.fill_from(variable);
        self.database_url = self
            .database_url
            .take()
            .or_else(|| variable("FARWATCH_DATABASE_URL").filter(|text| !text.is_empty()));
    }

    /// Whether it is stored data that is asked for, and not what an account has.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.storage.data_dir.is_some() || self.storage.bucket.is_some()
    }
}

/// Arguments of `farwatch usage`.
#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Where the data is.
    #[command(flatten)]
    pub records: RecordsArgs,
    /// One tenant only: its name or id
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Of stored data: hours from this time on, RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Of stored data: hours before this time, RFC 3339 or Unix seconds
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Of those who are logged in: the month, such as 2026-11 [default: this month]
    #[arg(long, conflicts_with_all = ["from", "to", "data_dir", "bucket"])]
    pub month: Option<String>,
    /// Of those who are logged in: name or id of the organisation [default: the only one]
    #[arg(long, value_name = "ORGANISATION", conflicts_with_all = ["from", "to", "data_dir", "bucket", "tenant"])]
    pub organisation: Option<String>,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}

impl UsageArgs {
    /// Whether it is the usage of who is logged in that is asked for, and not that of stored data.
    #[must_use]
    pub fn is_of_account(&self, logged_in: bool) -> bool {
        let Self { records, tenant: _, from, to, month, organisation, json: _ } = self;
        let stored = records.is_given() || from.is_some() || to.is_some();
        month.is_some() || organisation.is_some() || (logged_in && !stored)
    }
}

/// Arguments of `farwatch verify-invoice`.
#[derive(Debug, Args)]
pub struct VerifyInvoiceArgs {
    /// The month, such as 2026-11; or a file with what `farwatch invoice inputs` printed
    pub invoice: String,
    /// Name or id of the organisation, with a month [default: the only one]
    #[arg(long, value_name = "ORGANISATION")]
    pub organisation: Option<String>,
    /// File with the ledger, as `farwatch usage --json` prints it from stored data [default: read it from stored data]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "bucket"])]
    pub ledger: Option<PathBuf>,
    /// Where the ledger is.
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Show the tenants of your organisations; with --data-dir or --bucket, those of which there is data or that are on record
    List(ListTenantsArgs),
    /// Make a tenant: an environment of an organisation, with data, keys and limits of its own
    Create(CreateTenantArgs),
    /// Give a tenant another name
    Rename(RenameTenantArgs),
    /// Delete a tenant of yours, for good. With --data-dir or --bucket, or without a login, for who runs Farwatch: delete all
    /// stored data of a tenant, whoever's it is
    Delete(TenantArgs),
    /// Of stored data: read every object's list of tenants and tell whether any has data of this one; exits with 1 when one has
    ProveDeleted(TenantArgs),
}

/// Arguments of `farwatch tenant list`.
#[derive(Debug, Args)]
pub struct ListTenantsArgs {
    /// Which organisation.
    #[command(flatten)]
    pub which: WhichOrganisation,
    /// Where the data is.
    #[command(flatten)]
    pub records: RecordsArgs,
}

/// Which tenant.
#[derive(Debug, Args)]
pub struct TenantArgs {
    /// Name or id of the tenant
    pub tenant: String,
    /// Where the data is.
    #[command(flatten)]
    pub records: RecordsArgs,
}

/// What to do with a segment.
#[derive(Debug, Subcommand)]
pub enum SegmentCommand {
    /// Print what a segment holds: its partitions, their tenants, times, counts and sizes
    Inspect(SegmentArgs),
    /// Check every checksum and decode every partition of a segment; exits with 1 when something is wrong
    Verify(SegmentArgs),
}

/// Which segment.
#[derive(Debug, Args)]
pub struct SegmentArgs {
    /// Path of a file; with --bucket, an object's key
    pub segment: String,
    /// Bucket that holds the object: file://DIR or s3://NAME[/PREFIX] [env: FARWATCH_BUCKET]
    #[arg(long, value_name = "URL")]
    pub bucket: Option<String>,
    /// Endpoint of an S3 server that is not Amazon's [env: FARWATCH_S3_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,
}

/// What to tell about the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the reference of every setting, as Markdown
    Reference,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    <std::time::Duration as config::value::SettingValue>::parse(text)
        .map_err(|expected| format!("must be {expected}"))
}

/// Checks that the definition holds together; for tests.
pub fn debug_assert() {
    Cli::command().debug_assert();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        debug_assert();
    }

    #[test]
    fn serve_has_a_flag_for_every_setting() {
        for setting in config::settings() {
            let arguments = ["farwatch", "serve", &format!("--{}", setting.name()), "text"];
            let Command::Serve(serve) = Cli::try_parse_from(arguments).unwrap().command else {
                panic!("not serve");
            };
            assert_eq!(serve.flags, [(setting.field, "text".to_owned())]);
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_conflict_only_with_each_other() {
        let filled = |flags: &[&str], variables: &[(&str, &str)]| {
            let words = ["farwatch", "query", "up"].iter().chain(flags);
            let Command::Query(mut args) = Cli::try_parse_from(words).unwrap().command else {
                panic!("not query");
            };
            args.fill_from(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
            });
            (args.key, args.key_file, args.url)
        };
        let (text, path) = (|text: &str| Some(text.to_owned()), |path: &str| Some(PathBuf::from(path)));
        let all = [("FARWATCH_KEY", "k"), ("FARWATCH_KEY_FILE", "f"), ("FARWATCH_URL", "http://u")];
        assert_eq!(filled(&["--key-file", "F"], &all), (None, path("F"), text("http://u")));
        assert_eq!(filled(&["--key", "K", "--url", "http://U"], &all), (text("K"), None, text("http://U")));
        assert_eq!(filled(&[], &all), (text("k"), None, text("http://u")));
        let empty = [("FARWATCH_KEY", ""), ("FARWATCH_KEY_FILE", "f"), ("FARWATCH_URL", "")];
        assert_eq!(filled(&[], &empty), (None, path("f"), None));
        let both = ["farwatch", "query", "up", "--key", "K", "--key-file", "F"];
        assert!(Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn help_hides_the_key() {
        let mut command = Cli::command();
        let query = command.find_subcommand_mut("query").unwrap();
        let help = query.render_long_help().to_string();
        assert!(help.contains("FARWATCH_KEY") && !help.contains("FARWATCH_KEY="), "{help}");
    }
}
