//! Tables in a terminal.

/// Columns as wide as their widest cell; the first `left` columns to the left, the others to the right.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>], left: usize) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let (before, after) = if column < left { ("", pad.as_str()) } else { (pad.as_str(), "") };
            line += &format!("{}{before}{cell}{after}", if column == 0 { "" } else { "  " });
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    text += &line(
        &mut widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>().iter().map(String::as_str),
    );
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["metric".into(), "99.1 %".into()], vec!["a".into(), "5 %".into()]];
        let text = super::render(&["family", "accuracy"], &rows, 1);
        assert_eq!(text, "family  accuracy\n──────  ────────\nmetric    99.1 %\na            5 %\n");
    }
}
