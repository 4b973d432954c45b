//! The page's own HTML: what is escaped, tables, figures with their numbers behind them, the style.

use std::fmt::Write as _;

/// Text as it may stand between tags and within quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No page may hold them.
            '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A cell of a table.
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// A number, to the right.
    Number(String),
    /// What is HTML already.
    Html(String),
    /// A head over the line, in words.
    Strong(String),
}

/// Words as a cell.
pub(super) fn text(words: impl Into<String>) -> Cell {
    Cell::Text(words.into())
}

/// A number as a cell.
pub(super) fn number(words: impl Into<String>) -> Cell {
    Cell::Number(words.into())
}

/// A table that scrolls within itself where it is too wide. Numbers' heads are to the right as the numbers are.
pub(super) fn table(caption: &str, heads: &[&str], lines: &[Vec<Cell>]) -> String {
    let right = |column: usize| lines.iter().any(|line| matches!(line.get(column), Some(Cell::Number(_))));
    let mut html = format!(
        r#"<p class="caption">{0}</p><div class="wide" role="region" tabindex="0" aria-label="{0}"><table><thead><tr>"#,
        escaped(caption)
    );
    for (column, head) in heads.iter().enumerate() {
        let class = if right(column) { r#" class="n""# } else { "" };
        let _ = write!(html, r#"<th scope="col"{class}>{}</th>"#, escaped(head));
    }
    html += "</tr></thead><tbody>";
    for line in lines {
        html += "<tr>";
        for cell in line {
            let _ = match cell {
                Cell::Text(words) => write!(html, "<td>{}</td>", escaped(words)),
                Cell::Number(words) => write!(html, r#"<td class="n">{}</td>"#, escaped(words)),
                Cell::Html(ready) => write!(html, "<td>{ready}</td>"),
                Cell::Strong(words) => {
                    write!(html, r#"<th scope="row" colspan="{}">{}</th>"#, heads.len(), escaped(words))
                }
            };
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
}

/// Words, with what stands between backticks as code.
fn prose(words: &str) -> String {
    let parts: Vec<String> = words.split('`').map(escaped).collect();
    if parts.len().is_multiple_of(2) {
        return parts.join("`");
    }
    let part = |(place, part): (usize, &String)| match place % 2 {
        0 => part.clone(),
        _ => format!("<code>{part}</code>"),
    };
    parts.iter().enumerate().map(part).collect()
}

/// A paragraph of words.
pub(super) fn paragraph(words: &str) -> String {
    format!("<p>{}</p>", prose(words))
}

/// What is not there, and why.
pub(super) fn absent(words: &str) -> String {
    format!(r#"<p class="absent">{}</p>"#, prose(words))
}

/// What opens at a click; the summary is words.
pub(super) fn details(summary: &str, content: &str, open: bool) -> String {
    let open = if open { " open" } else { "" };
    format!("<details{open}><summary>{}</summary>{content}</details>", escaped(summary))
}

/// A picture with its title, what is to be seen in it, and its numbers behind it.
pub(super) fn figure(title: &str, picture: &str, words: &str, numbers: &str) -> String {
    let behind = if numbers.is_empty() {
        String::new()
    } else {
        details("The numbers of this figure", numbers, false)
    };
    format!(
        r#"<figure aria-label="{0}"><h4>{0}</h4>{picture}<figcaption>{1}</figcaption>{behind}</figure>"#,
        escaped(title),
        escaped(words)
    )
}

/// Figures side by side, as far as there is room.
pub(super) fn side_by_side(figures: &[String]) -> String {
    format!(r#"<div class="figures">{}</div>"#, figures.concat())
}

/// A section of the page.
pub(super) fn section(id: &str, title: &str, content: &str) -> String {
    format!(r#"<section id="{id}"><h2>{}</h2>{content}</section>"#, escaped(title))
}

/// The page around its content. It asks nothing of any network, and says so to the browser.
pub(super) fn page(title: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/><title>{}</title><style>{STYLE}</style></head>\n\
         <body><main>{content}</main></body></html>\n",
        escaped(title)
    )
}

const STYLE: &str = include_str!("style.css");
