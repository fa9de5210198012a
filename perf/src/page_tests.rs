//! The page of a made-up report.

use super::*;
use crate::bars::Limit;
use crate::report::tests::report;

#[test]
fn a_page_has_a_table_and_a_curve_of_each_server_and_loads_nothing() {
    let page = render(&report());
    assert_eq!(page.matches("<section>").count(), 1);
    assert_eq!(page.matches("class=\"line ").count(), 2, "{page}");
    assert!(page.contains(">3.00x<") && page.contains(">0.25x<"), "{page}");
    assert!(page.contains("<p>writes</p>"), "{page}");
    for outside in ["http", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn names_are_text_not_markup() {
    let mut report = report();
    report.servers[1].name = "<b>".to_owned();
    report.cells[1].server = "<b>".to_owned();
    let page = render(&report);
    assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
}

#[test]
fn every_tag_that_opens_closes() {
    let page = render(&report());
    for tag in ["table", "tr", "td", "th", "section", "svg", "p", "h2", "path", "title"] {
        let opened = page.matches(&format!("<{tag}>")).count()
            + page.matches(&format!("<{tag} ")).count()
            - page.matches("class=\"grid\"").count() * usize::from(tag == "path");
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn bars_are_counted_and_coloured() {
    let mut report = report();
    assert!(!render(&report).contains("What is promised"));
    let bar = |value| Judged::new("fast", "peer", value, Limit::AtLeast(2.0), "x");
    report.bars = vec![bar(Some(1.0)), bar(Some(2.0)), bar(None)];
    let page = render(&report);
    assert!(page.contains("What is promised: 1 of 2 met"), "{page}");
    assert!(
        page.contains("<td class=\"no\">no</td>") && page.contains("<td class=\"yes\">yes</td>")
    );
    assert!(page.contains("&gt;= 2x") && page.contains("not measured"), "{page}");
}
