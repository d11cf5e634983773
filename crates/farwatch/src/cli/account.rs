//! Arguments of the commands of an account.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use tenancy::{Priority, Scope};

use super::duration;

/// Whose account, and where.
#[derive(Debug, Args)]
pub struct WhoArgs {
    /// The account's e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Where Farwatch is [env: FARWATCH_URL] [default: http://127.0.0.1:9600]
    #[arg(long)]
    pub url: Option<String>,
    /// File whose first line is the password; asked for when left out
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl WhoArgs {
    /// Takes from the environment what no flag gives. An empty variable counts as not set.
    pub fn fill_from(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        self.url = self.url.take().or_else(|| variable("FARWATCH_URL").filter(|text| !text.is_empty()));
    }
}

/// Arguments of `farwatch signup`.
#[derive(Debug, Args)]
pub struct SignUpArgs {
    /// Whose account.
    #[command(flatten)]
    pub who: WhoArgs,
    /// The link in the mail, or what stands behind `#token=` in it: makes the account and logs in
    #[arg(long, value_name = "LINK")]
    pub confirm: Option<String>,
    /// Make an organisation of this name, once the account is there
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub organisation: String,
}

/// Arguments of `farwatch login`.
#[derive(Debug, Args)]
pub struct LogInArgs {
    /// Whose account.
    #[command(flatten)]
    pub who: WhoArgs,
    /// Code of the second factor, if one is on; asked for when left out
    #[arg(long, value_name = "DIGITS")]
    pub code: Option<String>,
}

/// The tenant that a command is about.
#[derive(Clone, Debug, Args)]
pub struct WhichTenant {
    /// Name or id of the tenant [default: the only one]
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// The organisation that a command is about.
#[derive(Clone, Debug, Args)]
pub struct WhichOrganisation {
    /// Name or id of the organisation [default: the only one]
    #[arg(long, value_name = "ORGANISATION")]
    pub organisation: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Show the keys of a tenant
    List(WhichTenant),
    /// Make a key and print it, this once
    Create(CreateKeyArgs),
    /// Make a successor of a key, which stays good for a while
    Rotate(RotateKeyArgs),
    /// Refuse a key everywhere, within seconds
    Revoke(RevokeKeyArgs),
}

/// Arguments of `farwatch keys create`.
#[derive(Debug, Args)]
pub struct CreateKeyArgs {
    /// What the key is for
    pub name: String,
    /// What it is good for; may be given again
    #[arg(long = "scope", value_name = "SCOPE", required = true,
        value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)))]
    pub scopes: Vec<String>,
    /// How long it is good [default: a year]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub expires_in: Option<Duration>,
    /// What is written with a lower one goes first when the tenant is over a limit
    #[arg(long, value_name = "PRIORITY", default_value = Priority::default().as_str(),
        value_parser = PossibleValuesParser::new(Priority::ALL.map(Priority::as_str)))]
    pub priority: String,
    /// Network that it may be used from, such as 192.0.2.0/24; may be given again [default: any]
    #[arg(long = "network", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// Which tenant.
    #[command(flatten)]
    pub which: WhichTenant,
}

/// Arguments of `farwatch keys rotate`.
#[derive(Debug, Args)]
pub struct RotateKeyArgs {
    /// The key's name or id
    pub key: String,
    /// For how long the old one stays good beside its successor
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1d")]
    pub overlap: Duration,
    /// Which tenant.
    #[command(flatten)]
    pub which: WhichTenant,
}

/// Arguments of `farwatch keys revoke`.
#[derive(Debug, Args)]
pub struct RevokeKeyArgs {
    /// The key's name or id
    pub key: String,
    /// Which tenant.
    #[command(flatten)]
    pub which: WhichTenant,
}

/// What to do with limits.
#[derive(Debug, Subcommand)]
pub enum QuotaCommand {
    /// Show the limits of a tenant
    Show(WhichTenant),
    /// Set limits of a tenant; those not named stay
    Set(SetQuotaArgs),
}

/// Arguments of `farwatch quota set`.
#[derive(Debug, Args)]
pub struct SetQuotaArgs {
    /// NAME=NUMBER, such as samples_per_second=50k or bytes_per_day=5GiB, or NAME=default for what the plan says
    #[arg(required = true, value_name = "NAME=NUMBER")]
    pub limits: Vec<String>,
    /// Which tenant.
    #[command(flatten)]
    pub which: WhichTenant,
}

/// Arguments of `farwatch tenant create`.
#[derive(Debug, Args)]
pub struct CreateTenantArgs {
    /// The environment's name, such as production
    pub name: String,
    /// Where production runs.
    #[command(flatten)]
    pub declaration: DeclarationArgs,
    /// Which organisation.
    #[command(flatten)]
    pub which: WhichOrganisation,
}

/// Arguments of `farwatch tenant rename`.
#[derive(Debug, Args)]
pub struct RenameTenantArgs {
    /// Name or id of the tenant
    pub tenant: String,
    /// Its new name
    pub name: String,
}

/// Where a tenant's production runs: it is placed elsewhere.
#[derive(Clone, Debug, Args)]
pub struct DeclarationArgs {
    /// Cloud region that production runs in, such as aws:eu-west-1 or "West Europe"; may be given again
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<String>,
    /// Cloud region that production fails over to; may be given again
    #[arg(long = "standby-region", value_name = "REGION")]
    pub standby_regions: Vec<String>,
    /// Where data may be: EU, EEA or a country's code; may be given again [default: anywhere]
    #[arg(long, value_name = "WHERE")]
    pub residency: Vec<String>,
    /// How near it is to be, as a wish: 40ms there and back, or 800km
    #[arg(long, value_name = "DISTANCE")]
    pub near: Option<String>,
    /// One cell is enough
    #[arg(long)]
    pub without_standby: bool,
}

/// What to do with the place of a tenant.
#[derive(Debug, Subcommand)]
pub enum PlacementCommand {
    /// Show where a tenant is, and why
    Show(WhichTenant),
    /// Declare where production runs; the tenant is placed anew
    Set(SetPlacementArgs),
    /// Show where a tenant would be; changes nothing. Without flags: for what it declared, and what its telemetry has shown since
    Propose(SetPlacementArgs),
    /// Show where telemetry comes from, and whether that is where the tenant is
    Conflicts(WhichTenant),
    /// Show the cloud regions that are known
    Regions(RegionsArgs),
    /// Show the cells that a tenant can be in
    Cells {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `farwatch placement set` and `farwatch placement propose`.
#[derive(Debug, Args)]
pub struct SetPlacementArgs {
    /// Where production runs.
    #[command(flatten)]
    pub declaration: DeclarationArgs,
    /// Which tenant.
    #[command(flatten)]
    pub which: WhichTenant,
}

/// Arguments of `farwatch placement regions`.
#[derive(Debug, Args)]
pub struct RegionsArgs {
    /// Only regions with this in their id, city or jurisdiction
    pub filter: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with invoices.
#[derive(Debug, Subcommand)]
pub enum InvoiceCommand {
    /// Show all invoices
    List(WhichOrganisation),
    /// Show an invoice; that of a month that is not over is what would be billed now
    Show(ShowInvoiceArgs),
    /// Say how to pay an invoice
    Pay(PayInvoiceArgs),
    /// Print all that an invoice was computed from, for `farwatch verify-invoice`
    Inputs(PayInvoiceArgs),
}

/// Arguments of `farwatch invoice show`.
#[derive(Debug, Args)]
pub struct ShowInvoiceArgs {
    /// The month, such as 2026-11 [default: this month]
    pub month: Option<String>,
    /// Print a page that can be printed
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub html: bool,
    /// Print a table for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Which organisation.
    #[command(flatten)]
    pub which: WhichOrganisation,
}

/// Arguments of `farwatch invoice pay` and `farwatch invoice inputs`.
#[derive(Debug, Args)]
pub struct PayInvoiceArgs {
    /// The month, such as 2026-11
    pub month: String,
    /// Which organisation.
    #[command(flatten)]
    pub which: WhichOrganisation,
}
