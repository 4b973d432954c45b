//! Figures and counts in words.

use kshot::eval::{Evaluation, Measure};

/// `97.31 ± 0.25 %`, or `0.532 ± 0.041`.
pub(crate) fn figure(evaluation: &Evaluation) -> String {
    let interval = evaluation.score.interval;
    if interval.ci95.is_nan() {
        return format!("{:.2} %", 100.0 * interval.mean);
    }
    match evaluation.score.measure {
        Measure::Accuracy => format!("{:.2} ± {:.2} %", 100.0 * interval.mean, 100.0 * interval.ci95),
        Measure::Mse => format!("{:.3} ± {:.3}", interval.mean, interval.ci95),
    }
}

/// `1 step`, `3 steps`.
pub(crate) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `maml`, or `maml, 3 steps` where inner steps were asked for.
pub(crate) fn with_steps(learner: &str, test_steps: Option<usize>) -> String {
    match test_steps {
        None => learner.to_owned(),
        Some(steps) => format!("{learner}, {}", plural(steps, "step")),
    }
}

/// `seed 0`, or `± over seeds 0–4`.
pub(crate) fn seeds(first: u64, count: u64) -> String {
    match count {
        1 => format!("seed {first}"),
        count => format!("± over seeds {first}–{}", first + count - 1),
    }
}
