use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// What keeping a set loses, and the most that may be lost.
struct Model<F> {
    loss: F,
    limit: f64,
    measured: Vec<Kept>,
}

impl<F: Fn(&Kept) -> f64> Model<F> {
    fn new(limit: f64, loss: F) -> Self {
        Self { loss, limit, measured: Vec::new() }
    }

    fn passes(&self, kept: &Kept) -> bool {
        (self.loss)(kept) <= self.limit
    }
}

impl<F: Fn(&Kept) -> f64> Measure for Model<F> {
    type Error = Infallible;
    type Effect = Kept;

    fn effect(&mut self, kept: &Kept) -> Result<Kept, Infallible> {
        Ok(kept.clone())
    }

    fn measure(&mut self, kept: &Kept, _: &Kept) -> Result<Score, Infallible> {
        self.measured.push(kept.clone());
        Ok(Score { loss: (self.loss)(kept), passes: self.passes(kept) })
    }
}

/// Losses that add up.
fn additive(losses: &[u32]) -> impl Fn(&Kept) -> f64 {
    move |kept| {
        let lost = losses.iter().enumerate().filter(|(index, _)| !kept.contains(index));
        lost.map(|(_, loss)| f64::from(*loss)).sum()
    }
}

/// Losses that add up, and more where two are lost together.
fn interacting(losses: &[u32], pairs: &[(usize, usize, u32)]) -> impl Fn(&Kept) -> f64 {
    let count = losses.len();
    move |kept| {
        let both = |&&(a, b, _): &&(usize, usize, u32)| {
            !kept.contains(&(a % count)) && !kept.contains(&(b % count))
        };
        let together = pairs.iter().filter(both).map(|(_, _, loss)| f64::from(*loss));
        additive(losses)(kept) + together.sum::<f64>()
    }
}

/// A loss that has no rule, but is none where everything is kept.
fn lawless(candidates: usize, seed: u64) -> impl Fn(&Kept) -> f64 {
    move |kept| {
        if kept.len() == candidates {
            return 0.0;
        }
        let mix = |sum: u64, index: &usize| {
            (sum ^ (*index as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
        };
        let bits = kept.iter().fold(seed, mix);
        if bits % 17 == 0 { f64::NAN } else { f64::from((bits >> 40) as u32) }
    }
}

fn kept(indices: &[usize]) -> Kept {
    indices.iter().copied().collect()
}

#[test]
fn nothing_is_kept_where_that_passes() {
    let mut model = Model::new(10.0, additive(&[1, 2, 3]));
    let found = smallest(3, 100, &mut model).unwrap();
    assert_eq!((found.kept, found.complete, found.trials.len()), (kept(&[]), true, 1));
    assert!(found.sensitivities.is_empty());
}

#[test]
fn a_gate_that_holds_for_nothing_is_an_error_after_two_trials() {
    let mut model = Model::new(-1.0, additive(&[1, 2, 3]));
    let error = smallest(3, 100, &mut model).unwrap_err();
    assert!(matches!(error, SearchError::Unreachable { kept: Score { loss: 0.0, .. } }));
    assert_eq!(model.measured, [kept(&[]), kept(&[0, 1, 2])]);
    let mut model = Model::new(-1.0, additive(&[]));
    assert!(matches!(smallest(0, 9, &mut model), Err(SearchError::Unreachable { .. })));
    assert_eq!(model.measured.len(), 1, "nothing and everything are the same of no candidates");
}

#[test]
fn a_budget_for_less_than_both_ends_is_an_error() {
    for budget in 0..FEWEST_TRIALS {
        let mut model = Model::new(0.0, additive(&[1]));
        assert!(matches!(smallest(1, budget, &mut model), Err(SearchError::Budget)));
        assert_eq!(model.measured.len(), budget);
    }
    let found = smallest(1, FEWEST_TRIALS, &mut Model::new(0.0, additive(&[1]))).unwrap();
    assert_eq!(found.kept, kept(&[0]));
    let found = smallest(9, FEWEST_TRIALS, &mut Model::new(0.0, additive(&[1; 9]))).unwrap();
    assert_eq!((found.kept.len(), found.complete), (9, false));
}

#[test]
fn the_one_bad_candidate_is_found_and_the_way_to_it_told() {
    use Purpose::{Bisection, Ends, Sensitivity as Alone};
    let mut model = Model::new(10.0, additive(&[1, 1, 50, 1, 1]));
    let found = smallest(5, 100, &mut model).unwrap();
    assert_eq!((&found.kept, found.complete), (&kept(&[2]), true));
    assert_eq!(found.trials[found.trial].score, Score { loss: 4.0, passes: true });
    assert_eq!(found.trials[0].score, Score { loss: 54.0, passes: false });
    let worst = Sensitivity { candidates: vec![2], loss: Some(50.0) };
    assert_eq!((found.sensitivities.len(), &found.sensitivities[0]), (5, &worst));
    let purposes: Vec<Purpose> = found.trials.iter().map(|trial| trial.purpose).collect();
    assert_eq!(purposes, [Ends, Ends, Alone, Alone, Alone, Alone, Alone, Bisection, Bisection]);
}

#[test]
fn among_thousands_one_is_found_by_blocks() {
    let mut losses = vec![0; 5000];
    losses[3777] = 1;
    let mut model = Model::new(0.5, additive(&losses));
    let found = smallest(5000, 100, &mut model).unwrap();
    assert_eq!((&found.kept, found.complete), (&kept(&[3777]), true));
    assert!(model.measured.len() <= 100, "{}", model.measured.len());
}

#[test]
fn every_trial_more_makes_a_small_set_smaller_until_it_is_smallest() {
    let results: Vec<(usize, usize, bool)> = (2..16)
        .map(|budget| {
            let mut model = Model::new(30.0, additive(&[9, 1, 8, 20, 25]));
            let found = smallest(5, budget, &mut model).unwrap();
            (found.kept.len(), model.measured.len(), found.complete)
        })
        .collect();
    let kept: Vec<usize> = results.iter().map(|(kept, ..)| *kept).collect();
    assert_eq!(kept, [5, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
    let ends = results.iter().position(|(.., complete)| *complete).unwrap();
    for (budget, (_, trials, complete)) in (2..).zip(results) {
        assert!(complete == (budget >= ends + 2) && (complete || trials == budget), "{budget}");
    }
    assert_eq!(ends + 2, 10, "both ends, five alone, and three to bisect");
}

/// Neighbours of five that are not kept unless those before and after are not, either: naming one
/// of the three in the middle makes no difference where an end is kept.
struct Following {
    measured: Vec<Kept>,
}

impl Measure for Following {
    type Error = Infallible;
    type Effect = Kept;

    fn effect(&mut self, kept: &Kept) -> Result<Kept, Infallible> {
        let ends_are_kept = kept.contains(&0) || kept.contains(&4);
        Ok(if ends_are_kept {
            kept.union(&(1..4).collect()).copied().collect()
        } else {
            kept.clone()
        })
    }

    fn measure(&mut self, _: &Kept, effect: &Kept) -> Result<Score, Infallible> {
        self.measured.push(effect.clone());
        Ok(Score {
            loss: 5.0 - f64::from(u8::try_from(effect.len()).unwrap()),
            passes: effect.len() > 4,
        })
    }
}

#[test]
fn sets_that_come_to_the_same_share_a_trial_and_what_follows_others_has_no_sensitivity() {
    for (budget, trials) in [(2, 2), (3, 3), (4, 4), (20, 4)] {
        let mut model = Following { measured: Vec::new() };
        let found = smallest(5, budget, &mut model).unwrap();
        assert_eq!((&found.kept, found.complete), (&kept(&[0, 4]), budget > 3));
        assert_eq!(found.trials[found.trial].kept, kept(&[0, 1, 2, 3, 4]));
        let different: BTreeSet<&Kept> = model.measured.iter().collect();
        assert_eq!(different.len(), model.measured.len());
        assert_eq!(model.measured.len(), trials, "both ends, and each of the two alone");
        if budget == 20 {
            let (alone, others) = found.sensitivities.split_at(2);
            assert!(alone.iter().all(|one| one.loss == Some(1.0)), "{alone:?}");
            assert!(others.iter().all(|one| one.loss.is_none()), "{others:?}");
        }
    }
}

#[test]
fn infinite_losses_hide_no_other_bad_candidate() {
    let loss = |kept: &Kept| match (kept.contains(&1), kept.contains(&4)) {
        (false, _) => f64::NAN,
        (true, false) => f64::INFINITY,
        (true, true) => 1.0,
    };
    let found = smallest(6, 40, &mut Model::new(1.0, loss)).unwrap();
    assert_eq!((found.kept, found.complete), (kept(&[1, 4]), true));
}

#[test]
fn what_others_make_up_for_is_left_out_again() {
    // 0 is the most sensitive, but does nothing once 1 and 2 are kept.
    let loss = |kept: &Kept| {
        let alone = [9.0, 6.0, 6.0, 0.0];
        let lost: Vec<usize> = (0..4).filter(|index| !kept.contains(index)).collect();
        match lost.as_slice() {
            [only] => alone[*only],
            _ if kept.contains(&1) && kept.contains(&2) => 1.0,
            _ => 20.0,
        }
    };
    let found = smallest(4, 40, &mut Model::new(2.0, loss)).unwrap();
    assert_eq!((found.kept, found.complete), (kept(&[1, 2]), true));
    assert!(found.trials.iter().any(|trial| trial.purpose == Purpose::Reduction));
}

#[test]
fn what_is_lost_only_together_is_found_by_halves() {
    // Nothing is lost where one is not kept alone, all where its neighbour is not kept either.
    let loss = |kept: &Kept| if kept.contains(&40) || kept.contains(&41) { 0.0 } else { 9.0 };
    let mut model = Model::new(1.0, loss);
    let found = smallest(64, 100, &mut model).unwrap();
    assert_eq!((found.kept.len(), found.complete), (1, true));
    assert!(model.measured.len() < 90, "{}", model.measured.len());
}

/// Gives up at a trial, but remembers those before.
struct Interrupted<'a, M> {
    inner: &'a mut M,
    remembered: &'a mut BTreeMap<Kept, Score>,
    left: usize,
}

impl<M: Measure> Measure for Interrupted<'_, M> {
    type Error = ();
    type Effect = M::Effect;

    fn effect(&mut self, kept: &Kept) -> Result<M::Effect, ()> {
        self.inner.effect(kept).map_err(|_| ())
    }

    fn measure(&mut self, kept: &Kept, effect: &M::Effect) -> Result<Score, ()> {
        if let Some(score) = self.remembered.get(kept) {
            return Ok(*score);
        }
        self.left = self.left.checked_sub(1).ok_or(())?;
        let score = self.inner.measure(kept, effect).map_err(|_| ())?;
        self.remembered.insert(kept.clone(), score);
        Ok(score)
    }
}

/// The same result but for NaN, which equals nothing.
fn same(a: &Found, b: &Found) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

proptest! {
    #[test]
    fn of_losses_that_add_up_the_result_is_smallest(
        losses in prop::collection::vec(0..100_u32, 0..20), limit in 0..400_u32,
    ) {
        let mut model = Model::new(f64::from(limit), additive(&losses));
        let found = smallest(losses.len(), 2 + 3 * losses.len() + 5, &mut model).unwrap();
        let mut sorted = losses.clone();
        sorted.sort_unstable();
        // As many of the smallest losses as fit are not kept.
        let mut lost = 0;
        let dropped = sorted.iter().take_while(|loss| { lost += **loss; lost <= limit }).count();
        prop_assert!(found.complete);
        prop_assert!(model.passes(&found.kept));
        prop_assert_eq!(found.kept.len(), losses.len() - dropped);
    }

    #[test]
    fn the_gate_holds_for_the_result_whatever_the_losses_and_the_budget(
        candidates in 0..40_usize, seed: u64, limit in 0..0x00FF_FFFF_u32, budget in 2..90_usize,
    ) {
        let mut model = Model::new(f64::from(limit), lawless(candidates, seed));
        let found = smallest(candidates, budget, &mut model).unwrap();
        prop_assert!(model.passes(&found.kept));
        prop_assert!(found.trials[found.trial].score.passes);
        prop_assert!(model.measured.len() <= budget, "{} of {budget}", model.measured.len());
        prop_assert_eq!(model.measured.len(), found.trials.len());
        let different: BTreeSet<&Kept> = model.measured.iter().collect();
        prop_assert_eq!(different.len(), model.measured.len(), "nothing is tried twice");
    }

    #[test]
    fn a_larger_budget_never_keeps_more_and_all_of_it_is_used_until_no_set_is_smaller(
        losses in prop::collection::vec(0..100_u32, 0..24), limit in 0..600_u32,
    ) {
        let mut before = usize::MAX;
        let fewest = (0..losses.len()).rev().scan(losses.clone(), |left, _| {
            left.sort_unstable();
            left.pop();
            Some(left.iter().sum::<u32>())
        });
        let fewest = if losses.iter().sum::<u32>() <= limit {
            0
        } else {
            1 + fewest.take_while(|lost| *lost > limit).count()
        };
        for budget in 2..4 * losses.len() + 12 {
            let mut model = Model::new(f64::from(limit), additive(&losses));
            let found = smallest(losses.len(), budget, &mut model).unwrap();
            prop_assert!(found.kept.len() <= before, "{budget}: {} > {before}", found.kept.len());
            before = found.kept.len();
            prop_assert!(found.complete || found.trials.len() == budget);
            if found.complete {
                prop_assert_eq!(found.kept.len(), fewest, "{}", budget);
            }
        }
        prop_assert_eq!(before, fewest);
    }

    #[test]
    fn in_blocks_a_larger_budget_goes_on_where_a_smaller_one_ended(
        candidates in 8..40_usize, seed: u64, limit in 0..0x00FF_FFFF_u32,
    ) {
        let search = |budget| {
            let mut model = Model::new(f64::from(limit), lawless(candidates, seed));
            smallest(candidates, budget, &mut model).unwrap()
        };
        for budget in 2..candidates {
            let (less, more) = (search(budget), search(budget + 1));
            prop_assert!(more.kept.len() <= less.kept.len());
            let count = less.trials.len();
            prop_assert_eq!(format!("{:?}", &more.trials[..count]), format!("{:?}", less.trials));
        }
    }

    #[test]
    fn none_of_a_complete_result_can_be_left_out(
        losses in prop::collection::vec(0..100_u32, 1..12),
        pairs in prop::collection::vec((0..12_usize, 0..12_usize, 0..100_u32), 0..12),
        limit in 0..300_u32,
        budget in 2..60_usize,
    ) {
        let mut model = Model::new(f64::from(limit), interacting(&losses, &pairs));
        let found = smallest(losses.len(), budget, &mut model).unwrap();
        prop_assert!(model.passes(&found.kept));
        if found.complete {
            for one in &found.kept {
                let mut without = found.kept.clone();
                without.remove(one);
                prop_assert!(!model.passes(&without), "{one} of {:?}", found.kept);
            }
        }
    }

    #[test]
    fn a_search_that_goes_on_finds_what_one_without_interruption_does(
        candidates in 0..30_usize, seed: u64, limit in 0..0x00FF_FFFF_u32, budget in 2..60_usize,
        stride in 1..9_usize,
    ) {
        let mut model = Model::new(f64::from(limit), lawless(candidates, seed));
        let whole = smallest(candidates, budget, &mut model).unwrap();
        let trials = model.measured.len();
        model.measured.clear();
        let mut remembered = BTreeMap::new();
        let found = loop {
            let mut interrupted =
                Interrupted { inner: &mut model, remembered: &mut remembered, left: stride };
            match smallest(candidates, budget, &mut interrupted) {
                Ok(found) => break found,
                Err(SearchError::Measure(())) => {}
                Err(other) => panic!("{other:?}"),
            }
        };
        prop_assert!(same(&found, &whole), "{found:?} {whole:?}");
        prop_assert_eq!(model.measured.len(), trials, "nothing is measured again");
    }
}
