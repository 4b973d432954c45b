use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

/// What `work` gives on every rank of a simulated cluster, the same on all.
fn agreed<T: Send + PartialEq + std::fmt::Debug>(
    size: usize,
    work: impl Fn(&Ranks) -> Result<T> + Sync,
) -> Result<T, String> {
    let mut all = simulated(size, |ranks| ranks.settle(work(ranks)))
        .into_iter()
        .map(|outcome| outcome.map_err(|error| error.to_string()));
    let first = all.next().unwrap();
    all.for_each(|other| assert_eq!(other, first));
    first
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the ranks and the pieces, also fewer pieces than ranks: all results, in order, on every rank; of errors the
    /// first, whichever ranks they are on.
    #[test]
    fn pieces_come_back_in_order(
        size in 1_usize..9,
        start in 0_u64..1000,
        count in 0_u64..40,
        bad in proptest::collection::vec(0_u64..60, 0..4),
    ) {
        let numbers = start..start + count;
        let fails = |number: u64| bad.contains(&(number - start));
        let found = agreed(size, |ranks| {
            ranks.map(numbers.clone(), |number| match fails(number) {
                true => Err(Error::NotFinite(format!("piece {number}"))),
                false => Ok((number, vec![number as f32; (number % 5) as usize])),
            })
        });
        match numbers.clone().find(|&number| fails(number)) {
            Some(first) => prop_assert_eq!(found.unwrap_err(), format!("piece {first}")),
            None => prop_assert!(found.unwrap().into_iter().map(|piece| piece.0).eq(numbers)),
        }
    }

    /// A rank that fails anywhere ends the part for all, with its error, wherever the others are; the next part goes on.
    #[test]
    fn a_failure_is_everybodys_and_the_next_part_goes_on(
        size in 2_usize..9,
        lot in any::<proptest::sample::Index>(),
        at in 0_usize..4,
    ) {
        let unlucky = lot.index(size);
        let outcomes = simulated(size, |ranks| {
            let part = || {
                for exchange in 0..4 {
                    if ranks.rank() == unlucky && exchange == at {
                        return Err(Error::io("writing", "/there", std::io::Error::from_raw_os_error(28)));
                    }
                    match exchange % 2 {
                        0 => drop(ranks.gather(Floats(vec![1.5; ranks.rank()]))?),
                        _ => drop(ranks.map(0..20, |number| Ok(number.to_string()))?),
                    }
                }
                Ok(())
            };
            let first = ranks.settle(part()).unwrap_err().to_string();
            Ok((first, ranks.settle(ranks.any(ranks.rank() == 1))?))
        });
        for outcome in outcomes {
            let (first, second) = outcome.unwrap();
            prop_assert!(first.contains("writing /there: No space left"), "{}", first);
            prop_assert_eq!(first.starts_with(&format!("rank {unlucky}: ")), unlucky > 0);
            prop_assert!(second);
        }
    }
}

#[test]
fn what_the_first_rank_alone_makes_is_everybodys() {
    let made = AtomicU64::new(0);
    let found = agreed(5, |ranks| ranks.from_first(|| Ok(made.fetch_add(1, Ordering::Relaxed) + 7)));
    assert_eq!((found, made.into_inner()), (Ok(7), 1));
    let failed = agreed(5, |ranks| ranks.from_first(|| Err::<u8, _>(Error::invalid("no"))));
    assert_eq!(failed.unwrap_err(), "no");
}

#[test]
fn a_lost_rank_ends_the_others() {
    for size in [2, 3, 64] {
        let outcomes = simulated(size, |ranks| {
            ranks.gather(1_u8)?;
            if ranks.rank() == 1 {
                // Ends without a word, as one that is killed does.
                return Ok(());
            }
            ranks.gather(2_u8).and_then(|_| ranks.gather(3_u8)).map(drop)
        });
        for (rank, outcome) in outcomes.into_iter().enumerate() {
            match rank {
                1 => outcome.unwrap(),
                _ => assert_eq!(outcome.unwrap_err().to_string(), "rank 1 was lost"),
            }
        }
    }
}

#[test]
fn a_stop_on_one_rank_leaves_the_first_pieces() {
    let done = AtomicU64::new(0);
    let found = agreed(3, |ranks| {
        let stop = AtomicBool::new(false);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            ranks.map_until(0..30, &stop, |number| {
                done.fetch_add(1, Ordering::Relaxed);
                // Rank 1 does 1, 4, 7, 10.
                stop.store(number == 7, Ordering::Relaxed);
                Ok(number)
            })
        })
    });
    // Rank 1 lacks 10, so what others have beyond it is not of the first.
    assert_eq!(found.unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(done.into_inner(), 10 + 3 + 10);
}

#[test]
fn messages_arrive_in_order_and_say_who_sent_them() {
    let outcomes = simulated(4, |ranks| {
        let link = ranks.link().unwrap();
        if !ranks.is_first() {
            (0..5).try_for_each(|number| link.send(0, vec![ranks.rank() as u8, number]))?;
            ranks.gather(())?;
            return Ok(());
        }
        ranks.gather(())?;
        let mut next = [0; 4];
        while let Some((from, message)) = link.receive()? {
            assert_eq!(message, [from as u8, next[from]]);
            next[from] += 1;
        }
        assert_eq!(next, [0, 5, 5, 5]);
        Ok(())
    });
    outcomes.into_iter().for_each(|outcome| outcome.unwrap());
}
