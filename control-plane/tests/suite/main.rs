//! The control plane as its clients see it, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod accounts;
mod billing;
mod database;
mod directory;
mod keys;
mod leases;
mod mail;
mod migrations;
mod openapi;
mod organisations;
mod pages;
mod payments;
mod placement;
mod postgres;
mod quotas;
mod routes;
mod sessions;
mod usage;
mod world;
