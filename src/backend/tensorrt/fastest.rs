//! [`fastest`]: which of several engines of one model to keep.
//!
//! TensorRT's choice of kernels follows measurements and varies from build to build. Pure: knows
//! neither engines nor clocks.

use std::fmt;
use std::time::Duration;

/// Times every candidate is measured: in turns, every other time backwards, and an even number of
/// times, so that a GPU that gets slower or faster meanwhile favours none.
const ROUNDS: usize = 4;

/// The candidate to keep, and what was measured of all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fastest {
    /// Its number.
    pub(super) index: usize,
    /// The median latency of each candidate.
    medians: Vec<Duration>,
}

/// The candidate, of that many, with the smallest median latency; the first of several. `measure`
/// gives some latencies of a candidate each time it is called. `None` where there are no
/// candidates, or one of them has no latencies.
pub(super) fn fastest<E>(
    candidates: usize,
    mut measure: impl FnMut(usize) -> Result<Vec<Duration>, E>,
) -> Result<Option<Fastest>, E> {
    let mut latencies = vec![Vec::new(); candidates];
    for round in 0..ROUNDS {
        for turn in 0..candidates {
            let candidate = if round % 2 == 0 { turn } else { candidates - 1 - turn };
            latencies[candidate].extend(measure(candidate)?);
        }
    }
    let medians: Option<Vec<Duration>> = latencies.into_iter().map(median).collect();
    Ok(medians.and_then(|medians| {
        let index = (0..medians.len()).min_by_key(|&candidate| medians[candidate])?;
        Some(Fastest { index, medians })
    }))
}

fn median(mut latencies: Vec<Duration>) -> Option<Duration> {
    latencies.sort_unstable();
    let upper = *latencies.get(latencies.len() / 2)?;
    let is_odd = latencies.len() % 2 == 1;
    Some(if is_odd { upper } else { (latencies[latencies.len() / 2 - 1] + upper) / 2 })
}

impl Fastest {
    /// The medians, for [`super::BuildFacts`].
    pub(super) fn milliseconds(&self) -> Vec<f64> {
        self.medians.iter().map(|median| median.as_secs_f64() * 1e3).collect()
    }

    /// How much longer the slowest takes than this, as a part of this: 0.05 is 5 %.
    fn spread(&self) -> f64 {
        let best = self.medians[self.index];
        let worst = self.medians.iter().max().copied().unwrap_or(best);
        if best.is_zero() { 0.0 } else { worst.as_secs_f64() / best.as_secs_f64() - 1.0 }
    }
}

impl fmt::Display for Fastest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "engine {} of {} is kept, with a median of {:.3} ms; the slowest takes {:.1} % longer",
            self.index + 1,
            self.medians.len(),
            self.medians[self.index].as_secs_f64() * 1e3,
            self.spread() * 1e2
        )
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn micros(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_micros).collect()
    }

    /// The choice among candidates that are always measured the same.
    fn among(candidates: &[&[u64]]) -> Option<Fastest> {
        let measure = |at: usize| Ok::<_, Infallible>(micros(candidates[at]));
        let Ok(fastest) = fastest(candidates.len(), measure);
        fastest
    }

    #[test]
    fn the_smallest_median_wins_whatever_the_outliers() {
        let fastest = among(&[&[500, 510, 520], &[400, 410, 9000], &[1, 600, 600]]).unwrap();
        assert_eq!(fastest.index, 1);
        assert_eq!(fastest.milliseconds(), [0.51, 0.41, 0.6]);
        insta::assert_snapshot!(
            fastest,
            @"engine 2 of 3 is kept, with a median of 0.410 ms; the slowest takes 46.3 % longer"
        );
    }

    #[test]
    fn of_several_that_are_as_fast_the_first_is_kept() {
        assert_eq!(among(&[&[7], &[5], &[5]]).unwrap().index, 1);
        assert!(among(&[&[0], &[0]]).unwrap().spread().abs() < f64::EPSILON);
    }

    #[test]
    fn an_even_number_of_latencies_has_the_middle_of_two_as_its_median() {
        assert_eq!(median(micros(&[4, 1, 3, 2])), Some(Duration::from_nanos(2500)));
        assert_eq!(median(micros(&[])), None);
    }

    #[test]
    fn without_latencies_there_is_no_choice() {
        assert_eq!(among(&[]), None);
        assert_eq!(among(&[&[1], &[]]), None);
    }

    #[test]
    fn a_gpu_that_slows_down_steadily_favours_no_candidate() {
        let mut clock = 100;
        let measure = |_| {
            clock += 10;
            Ok::<_, Infallible>(micros(&[clock]))
        };
        let Ok(fastest) = fastest(2, measure);
        // In turns 110 120 | 140 130 | 150 160 | 180 170.
        assert_eq!(fastest.unwrap().medians, micros(&[145, 145]));
    }

    #[test]
    fn a_measurement_that_fails_ends_the_choice() {
        let outcome =
            fastest(3, |at| if at == 1 { Err("out of memory") } else { Ok(micros(&[1])) });
        assert_eq!(outcome, Err("out of memory"));
    }
}
