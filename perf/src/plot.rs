//! Latency curves as SVG: how slow the slowest of ten, of a hundred, of a thousand are.
//!
//! The x axis is logarithmic by percentile: each nine takes the same width. The y axis is
//! logarithmic by time. Colours are classes `s0` to `s7` that the page defines.

use std::fmt::Write as _;

use crate::limits::{CURVE_DECADES, CURVE_STEPS};

/// Colours that a page defines; more curves than that begin anew.
pub const COLOURS: usize = 8;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Percentiles with a line and a label: the label, and the inverse of the share that is slower.
const PERCENTILES: [(&str, f64); 7] = [
    ("0", 1.0),
    ("50", 2.0),
    ("90", 10.0),
    ("99", 100.0),
    ("99.9", 1e3),
    ("99.99", 1e4),
    ("99.999 %", 1e5),
];

/// One server's line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Server.
    pub name: String,
    /// Colour.
    pub colour: usize,
    /// Drawn stronger than the others.
    pub subject: bool,
    /// Latencies as in [`crate::recorder::Measured::curve_us`].
    pub points: Vec<f64>,
}

/// Where a value goes.
struct Scale {
    /// Decades of the percentile axis.
    decades: f64,
    /// Logarithms of the ends of the time axis.
    low: f64,
    high: f64,
}

impl Scale {
    fn of(curves: &[Curve]) -> Option<Self> {
        let longest = curves.iter().map(|curve| curve.points.len()).max()?;
        let values = || curves.iter().flat_map(|curve| &curve.points).map(|us| us.max(0.1));
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(0.0, f64::max);
        if longest < 2 {
            return None;
        }
        // Half a step of air on both ends; a flat curve still has an axis.
        let (low, high) = (low.log10() - 0.1, (high.log10() + 0.1).max(low.log10() + 0.6));
        let decades = (longest - 1) as f64 / f64::from(CURVE_STEPS);
        Some(Self { decades: decades.min(f64::from(CURVE_DECADES)), low, high })
    }

    fn x(&self, decade: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * decade / self.decades
    }

    fn y(&self, us: f64) -> f64 {
        let share = (us.max(0.1).log10() - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }

    /// 1, 2 and 5 of each decade of time that is shown; only 1 where there are many decades.
    fn times(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (10_f64.powf(self.low), 10_f64.powf(self.high));
        let steps: &[f64] = if self.high - self.low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        (-1..9)
            .flat_map(move |power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(move |us| (low..=high).contains(us))
    }
}

/// The plot of one workload; none if no curve has two points.
#[must_use]
pub fn latency(title: &str, curves: &[Curve]) -> Option<String> {
    let scale = Scale::of(curves)?;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    );
    grid(&mut svg, &scale);
    // The subject last, so that it lies on top.
    for subject in [false, true] {
        for curve in curves.iter().filter(|curve| curve.subject == subject) {
            line(&mut svg, &scale, curve);
        }
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn grid(svg: &mut String, scale: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for us in scale.times() {
        let y = scale.y(us);
        put(svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
        let (x, label) = (LEFT - 8.0, time(us));
        put(svg, format_args!("<text x=\"{x}\" y=\"{:.1}\" class=\"end\">{label}</text>", y + 4.0));
    }
    for (label, one_in) in PERCENTILES {
        let decade = one_in.log10();
        if decade > scale.decades + 1e-9 {
            break;
        }
        let x = scale.x(decade);
        put(svg, format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>"));
        let class = if decade + 0.2 > scale.decades { "end" } else { "mid" };
        let y = bottom + 17.0;
        put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y}\" class=\"{class}\">{label}</text>"));
    }
    let (x, y) = (f64::midpoint(LEFT, right), HEIGHT - 6.0);
    put(
        svg,
        format_args!("<text x=\"{x}\" y=\"{y}\" class=\"mid\">percentile of operations</text>"),
    );
}

fn line(svg: &mut String, scale: &Scale, curve: &Curve) {
    let mut path = String::new();
    for (step, &us) in curve.points.iter().enumerate() {
        let x = scale.x(step as f64 / f64::from(CURVE_STEPS));
        let pen = if step == 0 { 'M' } else { 'L' };
        write!(path, "{pen}{x:.1} {:.1}", scale.y(us)).expect("strings take everything");
    }
    let strong = if curve.subject { " subject" } else { "" };
    let (colour, name) = (curve.colour % COLOURS, escape(&curve.name));
    let start = format!("<path class=\"line s{colour}{strong}\" d=\"{path}\">");
    put(svg, format_args!("{start}<title>{name}</title></path>"));
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("strings take everything");
}

/// Microseconds as people say them.
fn time(us: f64) -> String {
    let said = |value: f64, unit: &str| format!("{} {unit}", (value * 10.0).round() / 10.0);
    match us {
        1e6.. => said(us / 1e6, "s"),
        1e3.. => said(us / 1e3, "ms"),
        _ => said(us, "us"),
    }
}

/// Text that is safe between tags and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str, subject: bool, points: &[f64]) -> Curve {
        Curve { name: name.to_owned(), colour: 0, subject, points: points.to_vec() }
    }

    #[test]
    fn each_nine_has_the_same_width_and_slower_is_higher() {
        let points: Vec<f64> = (0..=30).map(|step| 10.0 * 1.2_f64.powi(step)).collect();
        let scale = Scale::of(&[curve("a", true, &points)]).expect("points");
        let widths = [1.0, 2.0, 3.0].map(|nines| scale.x(nines) - scale.x(nines - 1.0));
        assert!((widths[0] - widths[1]).abs() < 1e-9 && (widths[1] - widths[2]).abs() < 1e-9);
        assert!((scale.x(3.0) - (WIDTH - RIGHT)).abs() < 1e-9);
        assert!(scale.y(1000.0) < scale.y(10.0), "svg counts downwards");
        assert!(points.iter().all(|&us| (TOP..=HEIGHT - BOTTOM).contains(&scale.y(us))));
    }

    #[test]
    fn the_subject_is_drawn_last_and_names_are_escaped() {
        let curves = [curve("krait", true, &[1.0, 2.0]), curve("<peer>", false, &[3.0, 4.0])];
        let svg = latency("a & b", &curves).expect("points");
        let (peer, subject) = (svg.find("&lt;peer&gt;"), svg.find(">krait<"));
        assert!(peer.is_some() && peer < subject, "{svg}");
        assert!(svg.contains("aria-label=\"a &amp; b\""), "{svg}");
        assert_eq!(svg.matches("class=\"line ").count(), 2);
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        assert!(latency("none", &[]).is_none());
        assert!(latency("one point", &[curve("a", true, &[1.0])]).is_none());
        assert!(latency("flat", &[curve("a", true, &[5.0, 5.0])]).is_some());
    }

    #[test]
    fn times_are_labelled_in_their_unit() {
        assert_eq!([0.5, 20.0, 5000.0, 2e6].map(time), ["0.5 us", "20 us", "5 ms", "2 s"]);
    }
}
