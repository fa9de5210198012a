//! What all measurements of Krait alone take and print.

use std::path::PathBuf;

use clap::Args;
use perf::bars::{self, Judged};
use serde::Serialize;

use super::{CliError, ClientArgs, scratch};

/// Options that they share.
#[derive(Debug, Args)]
pub struct Alone {
    /// Krait's binary [default: built first under cargo, else the one beside this program]
    #[arg(long)]
    krait: Option<String>,
    /// Directory on the disk to measure [default: the system's temporary directory]
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Print JSON instead of a table: every figure, and what was judged
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Serialize)]
struct Printed<'p, T> {
    figures: &'p T,
    rows: &'p [Judged],
}

impl Alone {
    pub fn binary(&self) -> Result<String, CliError> {
        Ok(self.krait.clone().map_or_else(perf::built::krait, Ok)?)
    }

    pub fn scratch(&self) -> PathBuf {
        scratch(self.scratch.as_deref())
    }

    pub fn core(&self) -> usize {
        self.client.core()
    }

    /// Prints what was found and how it is judged.
    pub fn print<T: Serialize>(&self, figures: &T, rows: &[Judged]) -> Result<(), CliError> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&Printed { figures, rows })?);
        } else {
            print!("{}", bars::table(rows));
        }
        Ok(())
    }
}
