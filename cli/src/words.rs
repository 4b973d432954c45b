//! Figures and counts in words.

use kshot::eval::{Evaluation, Measure, Score};

/// `97.31 ± 0.25 %`, or `0.532 ± 0.041`.
pub(crate) fn figure(evaluation: &Evaluation) -> String {
    score(evaluation.score)
}

/// The same of a score.
pub(crate) fn score(score: Score) -> String {
    let interval = score.interval;
    if interval.ci95.is_nan() {
        return format!("{:.2} %", 100.0 * interval.mean);
    }
    match score.measure {
        Measure::Accuracy => format!("{:.2} ± {:.2} %", 100.0 * interval.mean, 100.0 * interval.ci95),
        Measure::Mse => format!("{:.3} ± {:.3}", interval.mean, interval.ci95),
    }
}

/// `1 step`, `3 steps`.
pub(crate) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `40 s`, `12 min`, `3 h 20 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        0..120 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

/// `maml`, or `maml, 3 steps` where inner steps were asked for.
pub(crate) fn with_steps(learner: &str, test_steps: Option<usize>) -> String {
    match test_steps {
        None => learner.to_owned(),
        Some(steps) => format!("{learner}, {}", plural(steps, "step")),
    }
}

/// `seed 0`, `± over seeds 0–2`, `± over seeds 1, 5`.
pub(crate) fn seeds_of(seeds: &[u64]) -> String {
    let over = if seeds.len() > 1 { "± over " } else { "" };
    format!("{over}{}", seeds_in_words(seeds))
}

/// `seed 0`, `seeds 0–2`, `seeds 1, 5`.
pub(crate) fn seeds_in_words(seeds: &[u64]) -> String {
    match seeds {
        [one] => format!("seed {one}"),
        [first, .., last] if last - first + 1 == seeds.len() as u64 => format!("seeds {first}–{last}"),
        several => format!("seeds {}", several.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}
