//! A comparison as one HTML page that needs nothing else: tables, latency curves, no scripts.

use std::fmt::Write as _;

use crate::bars::Judged;
use crate::plot::{self, COLOURS, Curve, escape};
use crate::report::{Cell, Median, Report, ratio};
use crate::table::{Table, number};

const STYLE: &str = include_str!("page.css");

/// The head of a workload's table.
const HEAD: [&str; 12] = [
    "server",
    "IOPS",
    "± %",
    "MB/s",
    "p50 us",
    "p99",
    "p99.9",
    "max",
    "CPU us/op",
    "client %",
    "IOPS ratio",
    "p50 ratio",
];

/// The whole page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Krait beside its peers</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Krait beside its peers</h1>\n<p>{}</p>\n",
        escape(&report.summary())
    );
    page.push_str(
        "<p>Ratios divide Krait's figure by that of the row: IOPS above 1 and p50 below 1 are in \
         Krait's favour. A ratio that is closer to 1 than ± % says nothing. In the plots, lower is \
         faster, and each nine of the percentiles takes the same width.</p>\n",
    );
    put_bars(&mut page, &report.bars);
    for workload in report.workloads() {
        section(&mut page, report, workload);
    }
    page.push_str("<h2>Servers</h2>\n");
    put_table(&mut page, &report.server_table());
    page.push_str("</body>\n</html>\n");
    page
}

fn put_bars(page: &mut String, judged: &[Judged]) {
    if judged.is_empty() {
        return;
    }
    let met = judged.iter().filter(|one| one.met == Some(true)).count();
    let measured = judged.iter().filter(|one| one.met.is_some()).count();
    put(page, format_args!("<h2>What is promised: {met} of {measured} met</h2>"));
    page.push_str("<table class=\"words\">\n<tr>");
    for (word, class) in [
        ("what", ""),
        ("against", ""),
        ("bar", " class=\"n\""),
        ("measured", " class=\"n\""),
        ("met", ""),
    ] {
        write!(page, "<th{class}>{word}</th>").expect("strings take everything");
    }
    page.push_str("</tr>\n");
    for one in judged {
        let (what, against) = (escape(&one.what), escape(&one.against));
        let (bar, shown, word) = (escape(&one.bar), escape(&one.shown), one.word());
        put(
            page,
            format_args!(
                "<tr><td>{what}</td><td>{against}</td><td class=\"n\">{bar}</td>\
                 <td class=\"n\">{shown}</td><td class=\"{word}\">{word}</td></tr>"
            ),
        );
    }
    page.push_str("</table>\n");
}

fn section(page: &mut String, report: &Report, workload: &str) {
    let cells: Vec<&Cell> = report.cells.iter().filter(|c| c.workload == workload).collect();
    put(page, format_args!("<section>\n<h2>{}</h2>", escape(workload)));
    if let Some(said) = report.description(workload) {
        put(page, format_args!("<p>{}</p>", escape(said)));
    }
    let subject = report.subject_in(workload);
    let curve = |cell: &&Cell| Curve {
        name: cell.server.clone(),
        colour: colour(report, &cell.server),
        subject: subject == Some(cell.server.as_str()),
        points: cell.curve_us(),
    };
    let curves: Vec<Curve> = cells.iter().map(curve).collect();
    page.push_str("<table>\n<tr>");
    for word in HEAD {
        write!(page, "<th>{word}</th>").expect("strings take everything");
    }
    page.push_str("</tr>\n");
    let own = subject.and_then(|server| report.median(workload, server));
    for cell in cells {
        if let Some(median) = &cell.median {
            let own = own.filter(|_| subject != Some(cell.server.as_str()));
            row(page, &cell.server, colour(report, &cell.server), median, own);
        }
    }
    page.push_str("</table>\n");
    if let Some(svg) = plot::latency(&format!("latency of {workload}"), &curves) {
        page.push_str(&svg);
    }
    page.push_str("</section>\n");
}

fn row(page: &mut String, server: &str, colour: usize, median: &Median, own: Option<&Median>) {
    let latency = &median.latency_us;
    let words = [
        number(median.iops),
        format!("{:.0}", median.iops_spread_percent),
        number(median.megabytes_per_second),
        number(latency.p50),
        number(latency.p99),
        number(latency.p99_9),
        number(latency.max),
        median.server_cpu_us_per_op.map_or("-".to_owned(), number),
        format!("{:.0}", median.client_cpu_percent),
        ratio(own.map(|own| own.iops), median.iops),
        ratio(own.map(|own| own.latency_us.p50), latency.p50),
    ];
    let swatch = format!("<i class=\"swatch s{colour}\"></i>");
    write!(page, "<tr><td>{swatch}{}</td>", escape(server)).expect("strings take everything");
    for word in words {
        write!(page, "<td class=\"n\">{word}</td>").expect("strings take everything");
    }
    page.push_str("</tr>\n");
}

/// The same colour for a server in all plots: servers in their order, then what is none.
fn colour(report: &Report, server: &str) -> usize {
    let place = report.servers.iter().position(|facts| facts.name == server);
    place.unwrap_or(COLOURS - 1) % COLOURS
}

fn put_table(page: &mut String, table: &Table) {
    page.push_str("<table>\n");
    for (place, words) in table.rows().enumerate() {
        page.push_str("<tr>");
        for (column, word) in words.iter().enumerate() {
            let (tag, class) = match (place, table.is_text(column)) {
                (0, _) => ("th", ""),
                (_, true) => ("td", ""),
                (_, false) => ("td", " class=\"n\""),
            };
            let word = escape(word.trim_matches('`'));
            write!(page, "<{tag}{class}>{word}</{tag}>").expect("strings take everything");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn put(page: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(page, "{line}").expect("strings take everything");
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
