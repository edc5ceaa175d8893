//! The charts of a report as files of their own, light or dark as the reader has it.

use crate::chart::{STYLE, all};
use crate::drawing::Drawing;
use crate::record::Record;

/// What a page would say: the colours that [`STYLE`] names.
const COLOURS: &str = "\
svg { --ink: #1b1f24; --paper: #ffffff; --line: #d0d7de; --soft: #57606a; --s1: #0b62c4; --s2: #a8480a; --s3: #1a7f45;
  --s4: #8b3fb0; --s5: #b3261e; --s6: #0a7a86; --s7: #7a5c00; --s8: #c2347f; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --paper: #12161c; --line: #3a424c; --soft: #a3adb8; --s1: #6cb2ff; --s2: #f0a565; --s3: #63cf8b;
    --s4: #cf9bf0; --s5: #ff8a80; --s6: #5fd0dc; --s7: #d9c04d; --s8: #f593c4; }
}
.sheet { fill: var(--paper); } svg.chart .title { font-size: 18px; font-weight: 600; }
";

/// Every chart that a record has something for: the name of its file, without an ending, and an SVG document that needs
/// nothing else.
pub fn charts(record: &Record) -> Vec<(String, String)> {
    all(record).into_iter().filter_map(|drawing| Some((drawing.id.to_owned(), document(&drawing)?))).collect()
}

/// A drawing with its own colours, under its title, on a sheet with a margin.
fn document(drawing: &Drawing) -> Option<String> {
    let (attributes, content) = drawing.svg.strip_prefix("<svg ")?.split_once('>')?;
    let (before, rest) = attributes.split_once("viewBox=\"0 0 720 ")?;
    let (height, after) = rest.split_once('"')?;
    let height = height.parse::<f64>().ok()? + 56.0;
    let title = &drawing.title;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" {before}viewBox=\"-16 -44 752 {height}\"{after}>\
         <title>{title}</title><style>{COLOURS}{STYLE}</style>\
         <rect class=\"sheet\" x=\"-16\" y=\"-44\" width=\"752\" height=\"{height}\"/>\
         <text class=\"title\" x=\"0\" y=\"-14\">{title}</text>{content}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::run;
    use crate::record::RollUp;

    /// The elements of a document in the order in which they end; panics if it is not well formed (XML 1.0, 2.1).
    fn elements(document: &str) -> Vec<String> {
        let (mut open, mut ended): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        let mut pieces = document.split('<');
        assert_eq!(pieces.next(), Some(""));
        for piece in pieces {
            let (tag, text) = piece.split_once('>').expect("a tag ends");
            assert!(!text.contains('>') && entities_are_known(text) && entities_are_known(tag), "{piece}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                ended.push(name.to_owned());
                continue;
            }
            let inner = tag.strip_suffix('/').unwrap_or(tag);
            let (name, attributes) = inner.split_once(' ').unwrap_or((inner, ""));
            attributes_are_well_formed(attributes);
            if inner.len() < tag.len() {
                ended.push(name.to_owned())
            } else {
                open.push(name)
            }
            assert!(!open.is_empty() || text.trim().is_empty(), "{text} outside");
        }
        assert!(open.is_empty(), "{open:?}");
        ended
    }

    fn entities_are_known(text: &str) -> bool {
        let known =
            |rest: &str| ["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| rest.starts_with(entity));
        text.split('&').skip(1).all(known)
    }

    fn attributes_are_well_formed(mut rest: &str) {
        let mut names = std::collections::BTreeSet::new();
        while !rest.is_empty() {
            let (name, value) = rest.split_once("=\"").expect("a value in quotes");
            let (_, after) = value.split_once('"').expect("a quote that ends");
            assert!(!name.is_empty() && !name.contains(['"', ' ']) && names.insert(name), "{name}");
            assert!(after.is_empty() || after.starts_with(' '), "{after}");
            rest = after.trim_start();
        }
    }

    #[test]
    fn every_chart_is_a_document_of_its_own() {
        let mut record = run(3);
        record.roll_up = vec![RollUp { hub: "<&\">\u{1}".to_owned(), actual: 1, ..RollUp::default() }];
        let charts = charts(&record);
        assert_eq!(charts.len(), 11);
        for (name, document) in &charts {
            let elements = elements(document);
            assert_eq!(elements[..2], ["title", "style"], "{name}");
            assert_eq!(elements.last().map(String::as_str), Some("svg"), "{name}");
            assert!(document.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "), "{name}");
        }
        assert!(charts.iter().any(|(name, _)| name == "hubs"));
    }

    #[test]
    fn every_colour_that_is_used_is_given_for_light_and_for_dark() {
        let used: Vec<_> = STYLE.split("var(").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(used.len() > 8);
        for colour in used {
            assert_eq!(COLOURS.matches(&format!("{colour}: #")).count(), 2, "{colour}");
        }
    }

    #[test]
    fn a_bare_record_has_no_charts() {
        assert_eq!(charts(&Record::default()), []);
    }
}
