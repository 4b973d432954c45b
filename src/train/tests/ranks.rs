//! The outer loop on several ranks.

use super::*;
use crate::ranks::simulated;

/// Fewer episodes than ranks as well: on every rank the weights of one process alone, and the first's files.
#[test]
fn any_number_of_ranks_trains_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    for (optimizer, steps, sizes) in [
        (OptimizerKind::Adam, 6, &[2, 3, 4, 64][..]),
        (OptimizerKind::Sgd, 6, &[2, 3]),
        (OptimizerKind::Adam, 2, &[1024]),
    ] {
        let config = TrainConfig { optimizer, steps, validate_every: 2, ..config() };
        let alone = directory.path().join(format!("alone-{optimizer:?}-{steps}"));
        let mut learner = Slope::new();
        let trained = run_in(&mut learner, &config, Some(&alone), false).unwrap();
        for &size in sizes {
            let path = directory.path().join(format!("{size}-{optimizer:?}-{steps}"));
            let outcomes = simulated(size, |ranks| {
                let mut own = Slope::new();
                let outcome = run_on(ranks, &mut own, &config, Some(&path), false);
                let trained = ranks.settle(outcome)?;
                Ok((own.learned.theta, Trained { seconds: 0.0, ..trained }))
            });
            for outcome in outcomes {
                let (theta, own) = outcome.unwrap();
                assert_eq!(theta, learner.learned.theta);
                assert_eq!(own, Trained { seconds: 0.0, ..trained.clone() });
            }
            for name in FILES {
                assert_eq!(bytes(&alone, name), bytes(&path, name), "{name}");
            }
        }
    }
}

/// Stopped on one rank, and resumed on more.
#[test]
fn a_run_stopped_on_some_ranks_resumes_on_others_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, parts) = (directory.path().join("whole"), directory.path().join("parts"));
    run_in(&mut Slope::new(), &config(), Some(&whole), false).unwrap();
    let stopped = simulated(3, |ranks| {
        let mut learner = Slope::new();
        learner.stop_at = (ranks.rank() == 2).then_some(13);
        ranks.settle(run_on(ranks, &mut learner, &config(), Some(&parts), false))
    });
    for outcome in stopped {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::Interrupted(text) if text.contains("step 13 of 30")), "{error}");
    }
    let resumed =
        simulated(5, |ranks| ranks.settle(run_on(ranks, &mut Slope::new(), &config(), Some(&parts), true)));
    resumed.into_iter().for_each(|outcome| assert_eq!(outcome.unwrap().steps, 30));
    for name in FILES {
        assert_eq!(bytes(&whole, name), bytes(&parts, name), "{name}");
    }
}

/// Each in the words of the one process that has it, and on every rank: a loss that is no number, a directory that the first
/// cannot write in, a rank that is killed.
#[test]
fn what_goes_wrong_on_one_rank_ends_all() {
    let directory = tempfile::tempdir().unwrap();
    let on = |learner: fn() -> Slope, path: &Path| {
        simulated(3, |ranks| ranks.settle(run_on(ranks, &mut learner(), &config(), Some(path), false)))
            .into_iter()
            .map(|outcome| outcome.unwrap_err().to_string())
            .collect::<Vec<_>>()
    };
    let path = directory.path().join("nan");
    let errors = on(|| Slope { nan_at: Some(46), ..Slope::new() }, &path);
    for error in &errors {
        assert!(error.contains("step 12: training episode 46: the loss is NaN"), "{error}");
    }
    assert!(errors[0].contains("best.safetensors"), "{}", errors[0]);

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let errors = on(Slope::new, &file.join("run"));
    assert!(errors.iter().all(|error| error == &errors[0]) && errors[0].contains("file/run"), "{errors:?}");

    let lost = simulated(3, |ranks| match ranks.rank() {
        1 => Err(Error::invalid("killed")),
        _ => run_on(ranks, &mut Slope::new(), &config(), None, false),
    });
    for rank in [0, 2] {
        assert_eq!(lost[rank].as_ref().unwrap_err().to_string(), "rank 1 was lost");
    }
}
