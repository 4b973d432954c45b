//! What to do about weights that do not fit.

use std::collections::BTreeMap;

/// The first few of some names.
pub(super) fn some(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [first, ..] if names.len() == 1 => format!("`{first}`"),
        names => format!("`{}` …", names.iter().take(3).cloned().collect::<Vec<_>>().join("`, `")),
    }
}

/// What to do where the file's tensor `name` has another shape than the learner's.
pub(super) fn on_shapes(name: &str, there: &[usize], here: &[usize]) -> String {
    let mut advice = Vec::new();
    if let ([_, from, filter @ ..], [_, to, other @ ..]) = (there, here)
        && let ([a, b], [c, d]) = (filter, other)
    {
        if filter != other {
            advice.push(format!(
                "take a backbone with filters of {a}×{b}, not {c}×{d} (the `stem` of a ResNet)"
            ));
        }
        if from != to && (*to).min(*from) <= 3 {
            advice.push(format!("give it inputs of {from} channels, not {to} (the `colour` of images)"));
        }
    }
    match advice.is_empty() {
        false => advice.join(", and "),
        true => format!(
            "take the backbone that they are of (its `kind` and `widths`), or leave the tensor out by another name \
             (`rename = {{ \"{name}\" = \"unused\" }}` under [train.names])"
        ),
    }
}

/// What to do where none of the file's tensors is the learner's.
pub(super) fn on_names(there: &[String], here: &[String]) -> String {
    let mut before: BTreeMap<&str, usize> = BTreeMap::new();
    for name in there {
        let fits = |own: &String| {
            name.strip_suffix(own.as_str()).filter(|before| before.is_empty() || before.ends_with('.'))
        };
        here.iter().filter_map(fits).for_each(|prefix| *before.entry(prefix).or_default() += 1);
    }
    match before.into_iter().max_by_key(|(_, count)| *count) {
        Some(("", _)) => "leave out `strip` and `rename`: by their own names they are the learner's".to_owned(),
        Some((prefix, count)) => format!(
            "{count} would be by `strip = \"{prefix}\"` under [train.names], or `--names '{{strip = \"{prefix}\"}}'`"
        ),
        None => "take the backbone that they are of (its `kind`), or say by [train.names] (`strip`, `rename`) which are \
                 which"
            .to_owned(),
    }
}
