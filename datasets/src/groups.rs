//! Examples that are alike in more than their class.

use std::collections::HashMap;

/// A number for each name of a group, in order of first appearance; none where no example has one.
pub(crate) fn numbered(names: &[String]) -> Option<Vec<u32>> {
    if names.iter().all(String::is_empty) {
        return None;
    }
    let mut numbers = HashMap::new();
    let number = |name| {
        let next = numbers.len() as u32;
        *numbers.entry(name).or_insert(next)
    };
    Some(names.iter().map(number).collect())
}
