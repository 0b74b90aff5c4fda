//! Candidates in blocks of neighbours.

use std::ops::Range;

/// How many candidates some pieces have.
pub(super) fn count(pieces: &[Range<usize>]) -> usize {
    pieces.iter().map(ExactSizeIterator::len).sum()
}

/// How many pieces so many candidates can be looked at in with so many trials: one each, and those
/// of a bisection. All of the candidates by themselves where that suffices; else pieces for half of
/// the trials, the others are for what remains of them.
pub(super) fn affordable(candidates: usize, trials: usize) -> usize {
    let needed = |pieces: usize| pieces.saturating_add(bisection(pieces));
    if needed(candidates) <= trials {
        return candidates;
    }
    let half = trials / 2;
    let fits = (0..=half.min(candidates)).rev().find(|&pieces| needed(pieces) <= half);
    fits.unwrap_or(0)
}

/// The trials that find one of `pieces` numbers from 1 on.
fn bisection(pieces: usize) -> usize {
    pieces.saturating_sub(1).checked_ilog2().map_or(0, |log| log as usize + 1)
}

/// Halves the largest pieces until there are so many, or only single candidates.
pub(super) fn split(mut pieces: Vec<Range<usize>>, wanted: usize) -> Vec<Range<usize>> {
    pieces.retain(|piece| !piece.is_empty());
    while pieces.len() < wanted {
        let sizes = pieces.iter().enumerate().map(|(at, piece)| (piece.len(), at));
        // The first of the largest.
        let largest = sizes.max_by_key(|&(size, at)| (size, std::cmp::Reverse(at)));
        let Some((2.., at)) = largest else { break };
        let Range { start, end } = pieces[at].clone();
        let middle = start.midpoint(end);
        pieces.splice(at..=at, [start..middle, middle..end]);
    }
    pieces.sort_by_key(|piece| piece.start);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one piece is what is meant")]
    fn the_largest_piece_is_halved_first() {
        assert_eq!(split(vec![0..5], 1), [0..5]);
        assert_eq!(split(vec![0..5], 2), [0..2, 2..5]);
        assert_eq!(split(vec![0..5], 3), [0..2, 2..3, 3..5]);
        assert_eq!(split(vec![4..5, 0..3], 3), [0..1, 1..3, 4..5]);
        assert_eq!(split(vec![0..3], 9), [0..1, 1..2, 2..3]);
        assert!(split(vec![0..0], 9).is_empty());
    }

    #[test]
    fn trials_suffice_for_the_pieces_and_their_bisection() {
        assert_eq!(affordable(16, 20), 16, "16 and 4 to bisect");
        assert_eq!(affordable(17, 21), 7, "10 of 21: 7 and 3 to bisect");
        assert_eq!(affordable(1, 1), 1);
        assert_eq!(affordable(5, 0), 0);
        assert_eq!(affordable(usize::MAX, 9), 2);
        assert_eq!(affordable(0, 0), 0);
    }
}
