//! Standardising features.

/// Gives each feature mean 0 and (population) deviation 1 within each group of rows; constant ones become 0.
#[expect(clippy::indexing_slicing, reason = "rows are those of groups, and features those of a row")]
pub(crate) fn standardise(values: &mut [f32], groups: &[String]) {
    let size = values.len() / groups.len().max(1);
    let mut names: Vec<&String> = groups.iter().collect();
    names.sort();
    names.dedup();
    for name in names {
        let rows: Vec<usize> = (0..groups.len()).filter(|&row| groups[row] == *name).collect();
        for feature in 0..size {
            let of = |row: &usize| f64::from(values[row * size + feature]);
            let mean = rows.iter().map(of).sum::<f64>() / rows.len() as f64;
            let variance = rows.iter().map(|row| (of(row) - mean).powi(2)).sum::<f64>() / rows.len() as f64;
            let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
            for row in &rows {
                let value = &mut values[row * size + feature];
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }
}
