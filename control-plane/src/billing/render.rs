//! Invoices for people and for spreadsheets. JSON is what `serde` makes of an [`Invoice`](super::Invoice).

mod csv;
mod html;

pub use csv::to_csv;
pub use html::{Party, to_html};
