//! What stands where on a page of Markdown, as far as the tests here need it.

/// A part of a page that is code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// A whole line of a block, with its continuations (`\` at the end) joined.
    Line { number: usize, text: String },
    /// Between backticks in a sentence.
    Span { number: usize, text: String },
}

/// Fenced blocks, blocks indented by four spaces, and spans.
pub fn code(page: &str) -> Vec<Code> {
    let mut found = Vec::new();
    let mut fenced = false;
    let mut after_blank = true;
    let mut indented = false;
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        let number = index + 1;
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        indented = line.starts_with("    ") && (indented || after_blank);
        after_blank = line.trim().is_empty();
        if !(fenced || indented) {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.map(|text| Code::Span { number, text: text.to_owned() }));
            continue;
        }
        let (number, before) = begun.take().unwrap_or((number, String::new()));
        let text = format!("{before}{}", line.trim());
        match text.strip_suffix('\\') {
            Some(text) => begun = Some((number, format!("{} ", text.trim_end()))),
            None => found.push(Code::Line { number, text }),
        }
    }
    found
}

/// Headings outside of blocks, without their `#`.
pub fn headings(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if !fenced && title.len() < line.len() && title.starts_with(' ') {
            found.push(title.trim().to_owned());
        }
    }
    found
}

/// Links outside of blocks and spans: line and destination.
pub fn links(page: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced || line.starts_with("    ") {
            continue;
        }
        let destinations = line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split_once(')'));
        found.extend(destinations.map(|(to, _)| (index + 1, to.to_owned())));
    }
    found
}

#[test]
fn code_is_found_in_all_three_forms() {
    let page = "Run `backout check`.\n\n    one \\\n      two\n    three\n\n```sh\nfour\n```\nfive\n- item\n    no code\n";
    let line = |number, text: &str| Code::Line { number, text: text.to_owned() };
    assert_eq!(
        code(page),
        [Code::Span { number: 1, text: "backout check".to_owned() }, line(3, "one two"), line(5, "three"), line(8, "four"),]
    );
}
