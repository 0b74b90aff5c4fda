//! The ways by which elements go from requests into batches and from batches into answers, and the
//! count of their bytes: there is no other copying of tensors in the runtime.

use std::sync::LazyLock;

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Bytes from which several threads copy: one alone takes longer than it takes to wake the others.
const MANY: usize = 1 << 20;
/// What one thread copies at once.
const PIECE: usize = 128 << 10;
/// Most threads that help; memory is not much faster with more.
const MOST_HELPERS: usize = 3;

/// Threads that help to copy; they have nothing else to do, or a batch would wait for it. None where
/// there are processors for one thread only.
static HELPERS: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let helpers = (processors / 2).saturating_sub(1).min(MOST_HELPERS);
    let builder = ThreadPoolBuilder::new().thread_name(|index| format!("copy-{index}"));
    (helpers > 0).then(|| builder.num_threads(helpers).build().ok()).flatten()
});

/// Bytes, and as many to copy them to.
pub(super) type Copy<'a> = (&'a [u8], &'a mut [u8]);

/// Copies all bytes of `source` to `target`, which is as long; counts them.
fn copy(source: &[u8], target: &mut [u8], copied: &mut u64) {
    target.copy_from_slice(source);
    *copied += source.len() as u64;
}

/// Copies each of the parts, with the help of other threads where they are many bytes; counts
/// those.
pub(super) fn copy_all(parts: Vec<Copy<'_>>, copied: &mut u64) {
    let all: usize = parts.iter().map(|(source, _)| source.len()).sum();
    *copied += all as u64;
    match HELPERS.as_ref() {
        Some(helpers) if all >= MANY => share_out(parts, helpers),
        _ => copy_each(parts),
    }
}

/// Copies in equal shares, one of them here.
fn share_out(parts: Vec<Copy<'_>>, helpers: &ThreadPool) {
    let mut pieces: Vec<Copy<'_>> = Vec::new();
    for (source, target) in parts {
        pieces.extend(source.chunks(PIECE).zip(target.chunks_mut(PIECE)));
    }
    let share = pieces.len().div_ceil(helpers.current_num_threads() + 1);
    helpers.in_place_scope(|scope| {
        while pieces.len() > share {
            let others = pieces.split_off(pieces.len() - share);
            scope.spawn(move |_| copy_each(others));
        }
        copy_each(pieces);
    });
}

fn copy_each(parts: Vec<Copy<'_>>) {
    for (source, target) in parts {
        target.copy_from_slice(source);
    }
}

/// Copies bytes into an answer; counts them.
pub(super) fn copy_out(source: &[u8], copied: &mut u64) -> Bytes {
    *copied += source.len() as u64;
    Bytes::copy_from_slice(source)
}

/// Copies the box of extents `common` at the origin of `source` to the origin of `target`; counts
/// the bytes. Both are row-major, of rows of `element` bytes; `common` fits in both.
pub(super) fn copy_box(
    (source, source_extents): (&[u8], &[usize]),
    (target, target_extents): (&mut [u8], &[usize]),
    common: &[usize],
    element: usize,
    copied: &mut u64,
) {
    // Axes at the end that are whole in both are one run of bytes with the axis before them.
    let mut axis = common.len();
    let mut run = element;
    while let Some(before) = axis.checked_sub(1) {
        run *= common[before];
        axis = before;
        if source_extents[before] != common[before] || target_extents[before] != common[before] {
            break;
        }
    }
    let outer = &common[..axis];
    let (from_strides, to_strides) =
        (strides(source_extents, element), strides(target_extents, element));
    let mut index = vec![0; outer.len()];
    loop {
        let at = |strides: &[usize]| index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        let (from, to): (usize, usize) = (at(&from_strides), at(&to_strides));
        copy(&source[from..from + run], &mut target[to..to + run], copied);
        let Some(next) = (0..outer.len()).rev().find(|&axis| index[axis] + 1 < outer[axis]) else {
            return;
        };
        index[next] += 1;
        index[next + 1..].fill(0);
    }
}

/// Bytes from one index of an axis to the next.
fn strides(extents: &[usize], element: usize) -> Vec<usize> {
    let mut strides = vec![element; extents.len()];
    for axis in (0..extents.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * extents[axis + 1];
    }
    strides
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every element of a tensor, by index.
    fn indices(extents: &[usize]) -> Vec<Vec<usize>> {
        extents.iter().fold(vec![Vec::new()], |all, &extent| {
            let longer = |index: Vec<usize>| (0..extent).map(move |i| [&index[..], &[i]].concat());
            all.into_iter().flat_map(longer).collect()
        })
    }

    fn place(extents: &[usize], index: &[usize]) -> usize {
        extents.iter().zip(index).fold(0, |at, (extent, i)| at * extent + i)
    }

    #[test]
    fn many_bytes_are_copied_by_several_threads_as_few_are_by_one() {
        let helpers = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for lens in
            [vec![], vec![0], vec![3, 0, 5], vec![MANY - 1], vec![7 * MANY + 1], vec![150_529; 61]]
        {
            let sources: Vec<Vec<u8>> =
                lens.iter().map(|&len| (0..251).cycle().take(len).collect()).collect();
            let mut targets: Vec<Vec<u8>> = lens.iter().map(|&len| vec![255; len]).collect();
            let parts = sources.iter().zip(&mut targets);
            share_out(parts.map(|(from, to)| (&from[..], &mut to[..])).collect(), &helpers);
            assert!(targets == sources, "{lens:?}");
            let mut copied = 1;
            for target in &mut targets {
                target.fill(255);
            }
            let parts = sources.iter().zip(&mut targets);
            copy_all(parts.map(|(from, to)| (&from[..], &mut to[..])).collect(), &mut copied);
            assert!(targets == sources, "{lens:?}");
            assert_eq!(copied, 1 + lens.iter().sum::<usize>() as u64);
        }
    }

    proptest! {
        #[test]
        fn every_element_of_the_box_arrives_and_no_other_changes(
            axes in proptest::collection::vec((1..4_usize, 0..3_usize, 0..3_usize), 0..5),
            element in 1..4_usize,
        ) {
            let extents = |of: fn(&(usize, usize, usize)) -> usize| -> Vec<usize> {
                axes.iter().map(of).collect()
            };
            let common = extents(|axis| axis.0);
            let (from, to) = (extents(|axis| axis.0 + axis.1), extents(|axis| axis.0 + axis.2));
            let bytes = from.iter().product::<usize>() * element;
            let source: Vec<u8> = (1..=250).cycle().take(bytes).collect();
            let mut target = vec![0; to.iter().product::<usize>() * element];
            let mut copied = 0;
            copy_box((&source, &from), (&mut target, &to), &common, element, &mut copied);
            prop_assert_eq!(copied, (common.iter().product::<usize>() * element) as u64);
            for index in indices(&to) {
                let at = place(&to, &index) * element;
                let found = &target[at..at + element];
                if index.iter().zip(&common).all(|(i, extent)| i < extent) {
                    let at = place(&from, &index) * element;
                    prop_assert_eq!(found, &source[at..at + element]);
                } else {
                    prop_assert!(found.iter().all(|&byte| byte == 0));
                }
            }
        }
    }
}
