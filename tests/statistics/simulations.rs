//! Simulated learners whose truth is known: how often is a test or an interval wrong?
//!
//! An episode is as hard for one learner as for another, and an accuracy is of 75 queries, so accuracies of
//! identical episodes are correlated and full of ties, as they are in few-shot benchmarks.

use std::sync::LazyLock;

use kshot::stats::interval95;
use kshot::stats::paired::{holm, paired_t, wilcoxon};
use kshot::stats::ranks::{friedman, nemenyi};
use kshot::stats::variance::{components, differences, of_seeds};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TRIALS: u64 = 2_000;
const QUERIES: usize = 75;

/// For every thousandth of a chance to be right: the chances of at most 0, 1 … of the queries being right.
static AT_MOST: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let of = |p: f64| {
        let mut chances = vec![0.0; QUERIES + 1];
        chances[0] = 1.0;
        for asked in 1..=QUERIES {
            for right in (1..=asked).rev() {
                chances[right] = chances[right] * (1.0 - p) + chances[right - 1] * p;
            }
            chances[0] *= 1.0 - p;
        }
        let mut sum = 0.0;
        chances.iter_mut().for_each(|chance| {
            sum += *chance;
            *chance = sum;
        });
        chances
    };
    (0..=1000).map(|thousandth| of(f64::from(thousandth) / 1000.0)).collect()
});

struct World(ChaCha8Rng);

impl World {
    fn normal(&mut self) -> f32 {
        // Box & Muller.
        let (u, v) = (1.0 - self.0.random::<f32>(), self.0.random::<f32>());
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }

    /// What a learner gets right of one episode's queries.
    fn accuracy(&mut self, p: f32) -> f32 {
        let at_most = &AT_MOST[(p.clamp(0.0, 1.0) * 1000.0).round() as usize];
        let drawn = self.0.random::<f64>();
        at_most[..QUERIES].partition_point(|&chance| chance <= drawn) as f32 / QUERIES as f32
    }

    /// Learners on the same episodes, `gap` better the second than the first, the third than the second …
    fn learners<const N: usize>(&mut self, episodes: usize, mean: f32, gap: f32) -> [Vec<f32>; N] {
        let mut all = [(); N].map(|()| Vec::with_capacity(episodes));
        for _ in 0..episodes {
            let p = mean + 0.1 * self.normal();
            for (learner, values) in all.iter_mut().enumerate() {
                values.push(self.accuracy(p + gap * learner as f32));
            }
        }
        all
    }

    /// Accuracies [seeds][episodes] of one method: seeds differ by `seed`, episodes as given, the rest by
    /// `rest` (standard deviations).
    fn trainings(&mut self, seeds: usize, episodes: &[f32], seed: f32, rest: f32) -> Vec<Vec<f32>> {
        let mut training = || {
            let base = 0.7 + seed * self.normal();
            episodes.iter().map(|episode| base + episode + rest * self.normal()).collect()
        };
        (0..seeds).map(|_| training()).collect()
    }

    fn episodes(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| 0.1 * self.normal()).collect()
    }
}

/// In what share of `trials` worlds this is so.
fn share(trials: u64, mut so: impl FnMut(&mut World) -> bool) -> f64 {
    let count = (0..trials).filter(|&trial| so(&mut World(ChaCha8Rng::seed_from_u64(trial)))).count();
    count as f64 / trials as f64
}

/// Of equal learners at most 5 % are called different: and three binomial standard errors of that.
#[track_caller]
fn at_most_a_twentieth(test: &str, called_different: f64) {
    println!("{test}: {:.2} % of equal learners called different", 100.0 * called_different);
    let bound = 0.05 + 3.0 * (0.05 * 0.95 / TRIALS as f64).sqrt();
    assert!(called_different <= bound, "{test}: {called_different}");
    // A test that never speaks is of no use.
    assert!(called_different > 0.01, "{test}: {called_different}");
}

/// All pairs' adjusted p-values: is any learner of five called different from another?
fn any_differs(learners: &[Vec<f32>; 5], p: impl Fn(&[f32], &[f32]) -> f64) -> bool {
    let pairs = (0..5).flat_map(|a| (0..a).map(move |b| (a, b)));
    let p: Vec<f64> = pairs.map(|(a, b)| p(&learners[a], &learners[b])).collect();
    holm(&p).iter().any(|&p| p < 0.05)
}

fn t(a: &[f32], b: &[f32]) -> f64 {
    paired_t(a, b).expect("pairs").p
}

fn w(a: &[f32], b: &[f32]) -> f64 {
    wilcoxon(a, b).expect("pairs")
}

#[test]
fn equal_learners_are_equal_to_paired_tests() {
    // 20 episodes: Wilcoxon's exact distribution; 0.97 ± 0.1: mostly or always right.
    for (episodes, mean) in [(20, 0.7), (100, 0.7), (100, 0.97)] {
        for (name, test) in [("paired t", t as fn(&[f32], &[f32]) -> f64), ("Wilcoxon", w)] {
            let different = share(TRIALS, |world| {
                let [a, b] = world.learners(episodes, mean, 0.0);
                test(&a, &b) < 0.05
            });
            at_most_a_twentieth(&format!("{name}, {episodes} episodes, accuracy {mean}"), different);
        }
    }
}

#[test]
fn five_equal_learners_are_equal_to_holm() {
    for (name, test) in [("t", t as fn(&[f32], &[f32]) -> f64), ("Wilcoxon", w)] {
        let different = share(TRIALS, |world| any_differs(&world.learners(100, 0.7, 0.0), test));
        at_most_a_twentieth(&format!("Holm over ten pairs by {name}"), different);
    }
}

#[test]
fn five_equal_learners_are_equal_over_settings() {
    // Twelve settings, each a mean over ten episodes: some ties.
    let ranked = |world: &mut World| -> Vec<Vec<f64>> {
        let means =
            |learners: [Vec<f32>; 5]| learners.map(|values| interval95(&values).unwrap().mean).to_vec();
        (0..12).map(|_| means(world.learners(10, 0.7, 0.0))).collect()
    };
    at_most_a_twentieth("Friedman", share(TRIALS, |world| friedman(&ranked(world)).unwrap().p < 0.05));
    let critical = nemenyi(5, 12).unwrap();
    let different = share(TRIALS, |world| {
        let ranks = friedman(&ranked(world)).unwrap().mean_ranks;
        let (best, worst) = ranks.iter().fold((5.0_f64, 1.0_f64), |(b, w), &r| (b.min(r), w.max(r)));
        worst - best >= critical
    });
    at_most_a_twentieth("Nemenyi", different);
}

#[test]
fn equal_methods_are_equal_over_seeds() {
    for seeds in [2, 3, 5] {
        let different = share(TRIALS, |world| {
            let episodes = world.episodes(50);
            let a = world.trainings(seeds, &episodes, 0.01, 0.05);
            let b = world.trainings(seeds, &episodes, 0.01, 0.05);
            of_seeds(&a, &b).unwrap().p < 0.05
        });
        at_most_a_twentieth(&format!("Student's t over {seeds} seeds"), different);
    }
}

#[test]
fn two_points_over_600_episodes_are_found() {
    for (name, test) in [("paired t", t as fn(&[f32], &[f32]) -> f64), ("Wilcoxon", w)] {
        let found = share(200, |world| {
            let [a, b] = world.learners(600, 0.7, 0.02);
            test(&a, &b) < 0.05
        });
        let holm = share(200, |world| {
            let [a, b, ..] = world.learners::<5>(600, 0.7, 0.02);
            // As if the other nine pairs had shown nothing.
            holm(&[&[test(&a, &b)], &[1.0; 9][..]].concat())[0] < 0.05
        });
        println!("{name}: 2 points found in {:.1} %, by Holm in {:.1} %", 100.0 * found, 100.0 * holm);
        assert!(found >= 0.99 && holm >= 0.99, "{name}: {found}, {holm}");
    }
    // Where pairs are not used, as when one looks whether the intervals of the two means part, some are
    // missed.
    let apart = share(200, |world| {
        let [a, b] = world.learners(600, 0.7, 0.02);
        interval95(&a).unwrap().high() < interval95(&b).unwrap().low()
    });
    println!("intervals of the two means part in {:.1} %", 100.0 * apart);
    assert!(apart < 0.9, "{apart}");
}

#[test]
fn intervals_over_three_seeds_cover() {
    let covered = share(20_000, |world| {
        let means = [(); 3].map(|()| 0.7 + 0.01 * world.normal());
        let interval = interval95(&means).unwrap();
        (interval.low()..=interval.high()).contains(&0.7_f32.into())
    });
    println!("Student's t over 3 seeds covers {:.2} %", 100.0 * covered);
    assert!((covered - 0.95).abs() < 0.01, "{covered}");
}

#[test]
fn each_interval_covers_what_it_is_of() {
    let (mut new_training, mut these_weights, mut too_much) = (0.0, 0.0, 0.0);
    let truth = f64::from(0.7_f32);
    let holds = |interval: kshot::stats::Interval, truth: f64| (interval.mean - truth).abs() <= interval.ci95;
    let each = 1.0 / TRIALS as f64;
    for trial in 0..TRIALS {
        let world = &mut World(ChaCha8Rng::seed_from_u64(trial));
        let episodes = world.episodes(200);
        let seeds = world.trainings(3, &episodes, 0.01, 0.05);
        let found = components(&seeds).unwrap();
        new_training += if holds(found.new_training, truth) { each } else { 0.0 };
        too_much += if holds(found.these_weights, truth) { each } else { 0.0 };
        // The same trainings on episodes without end: their own means are the truth.
        let fixed = [0.69, 0.70, 0.71].map(|base: f32| {
            episodes.iter().map(|episode| base + episode + 0.05 * world.normal()).collect::<Vec<f32>>()
        });
        these_weights += if holds(components(&fixed).unwrap().these_weights, truth) { each } else { 0.0 };
    }
    println!(
        "these weights: {these_weights:.4}; a new training: {new_training:.4}, by the former {too_much:.4}"
    );
    let error = (0.05 * 0.95 / TRIALS as f64).sqrt();
    assert!((these_weights - 0.95).abs() < 3.0 * error, "{these_weights}");
    assert!(new_training > 0.95 - 3.0 * error, "{new_training}");
    assert!(too_much < 0.93, "{too_much}");
}

#[test]
fn components_are_those_drawn() {
    let world = &mut World(ChaCha8Rng::seed_from_u64(0));
    let (mut seed, mut episode, mut residual) = (0.0, 0.0, 0.0);
    for _ in 0..TRIALS {
        let episodes = world.episodes(50);
        let found = components(&world.trainings(5, &episodes, 0.02, 0.05)).unwrap();
        seed += found.seed / TRIALS as f64;
        episode += found.episode / TRIALS as f64;
        residual += found.residual / TRIALS as f64;
    }
    println!("variances: seed {seed:.6}, episode {episode:.6}, residual {residual:.6}");
    assert!((seed / 0.0004 - 1.0).abs() < 0.07, "{seed}");
    assert!((episode / 0.01 - 1.0).abs() < 0.02, "{episode}");
    assert!((residual / 0.0025 - 1.0).abs() < 0.01, "{residual}");
}

/// Where methods differ from episode to episode, equal only on average, a test on fixed episodes says so of
/// these.
#[test]
fn new_episodes_need_their_own_interval() {
    let draw = |world: &mut World| {
        let (episodes, taste) = (world.episodes(50), world.episodes(50));
        let likes =
            |sign: f32| -> Vec<f32> { episodes.iter().zip(&taste).map(|(e, t)| e + sign * t).collect() };
        let (a, b) = (likes(0.5), likes(-0.5));
        (world.trainings(3, &a, 0.01, 0.05), world.trainings(3, &b, 0.01, 0.05))
    };
    let fixed = share(TRIALS, |world| {
        let (a, b) = draw(world);
        of_seeds(&a, &b).unwrap().p < 0.05
    });
    let anew = share(TRIALS, |world| {
        let (a, b) = draw(world);
        let interval = components(&differences(&a, &b).unwrap()).unwrap().new_training;
        interval.mean.abs() > interval.ci95
    });
    println!("called different: on these episodes {fixed:.4}, on new ones {anew:.4}");
    assert!(fixed > 0.1 && anew < 0.05, "{fixed} {anew}");
}
