//! `krait config explain`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, Align, Table};
use crate::config::{Explained, Resolved};
use crate::error::Error;

/// The JSON output.
#[derive(Serialize)]
struct Explanation<'a> {
    /// The file that was read, if any.
    file: Option<&'a PathBuf>,
    settings: &'a [Explained],
}

/// Prints every setting, its value, where it came from and its limits.
pub(super) fn explain(resolved: &Resolved, json: bool) -> Result<(), Error> {
    if json {
        let settings = &resolved.explained;
        return output::print_json(&Explanation { file: resolved.file.as_ref(), settings });
    }
    let columns = ["SETTING", "VALUE", "FROM", "LIMITS", "VARIABLE", "FLAG"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for line in &resolved.explained {
        let limits = match (&line.floor, &line.ceiling) {
            (Some(floor), Some(ceiling)) => format!("{floor} to {ceiling}"),
            _ => String::new(),
        };
        table.row(vec![
            line.key.to_owned(),
            line.value.clone(),
            line.origin.clone(),
            limits,
            line.variable.to_owned(),
            line.flag.to_owned(),
        ]);
    }
    let file = match &resolved.file {
        Some(path) => format!("file: {}\n\n", path.display()),
        None => "file: none (krait.toml and /etc/krait/krait.toml do not exist)\n\n".to_owned(),
    };
    output::print(&(file + &table.text()))
}
