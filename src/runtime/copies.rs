//! The ways by which elements go from requests into batches and from batches into answers, and the
//! count of their bytes: there is no other copying of tensors in the runtime.

use bytes::Bytes;

/// Copies all bytes of `source` to `target`, which is as long; counts them.
pub(super) fn copy(source: &[u8], target: &mut [u8], copied: &mut u64) {
    target.copy_from_slice(source);
    *copied += source.len() as u64;
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
