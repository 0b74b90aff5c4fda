//! Folders and files of every sort, batch by batch.

use tempfile::TempDir;

use super::*;
use crate::tensor::{Dim, TensorSpec};

/// Batches of two samples of `image` (float32, three values each).
fn images() -> BatchSpec {
    spec(&[("image", DType::Float32, &[2, 3])])
}

fn spec(inputs: &[(&str, DType, &[usize])]) -> BatchSpec {
    let inputs = inputs.iter().map(|&(name, dtype, extents)| TensorSpec {
        name: name.into(),
        dtype,
        dims: Some(extents.iter().copied().map(Dim::Fixed).collect()),
    });
    BatchSpec::new(&inputs.collect::<Vec<_>>(), None, None).unwrap()
}

/// An `.npy` file of consecutive values.
fn npy(path: &Path, descr: &str, shape: &[usize], first: u8) {
    let extents: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let shape_text = format!("{},", extents.join(","));
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape_text})}}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values(descr, shape.iter().product(), first));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn values(descr: &str, count: usize, first: u8) -> Vec<u8> {
    let values = (first..).take(count);
    match descr {
        "<f4" => values.flat_map(|value| f32::from(value).to_le_bytes()).collect(),
        "<i4" => values.flat_map(|value| i32::from(value).to_le_bytes()).collect(),
        "<i8" => values.flat_map(|value| i64::from(value).to_le_bytes()).collect(),
        _ => unreachable!("a type of these tests"),
    }
}

/// Every batch, each as the values of its inputs.
fn batches(path: &Path, batch: BatchSpec) -> Vec<Vec<Vec<f64>>> {
    let mut source = DatasetSource::open(path, &IndexMap::new(), batch).unwrap();
    let mut batches = Vec::new();
    while let Some(tensors) = source.next_batch().unwrap() {
        assert!(source.batch().accepts(&tensors));
        batches.push(tensors.iter().map(Tensor::to_f64).collect());
    }
    assert_eq!(source.batches_left(), 0);
    batches
}

/// The error, with the folder's name taken out.
fn refusal(path: &Path, batch: BatchSpec) -> String {
    let error = DatasetSource::open(path, &IndexMap::new(), batch).unwrap_err();
    let folder = path.parent().unwrap().display().to_string();
    let help = error.help().unwrap_or_default();
    format!("{error}\nhelp: {help}").replace(&folder, "DIR")
}

#[test]
fn samples_of_a_folder_follow_each_other_across_its_files() {
    let dir = TempDir::new().unwrap();
    npy(&dir.path().join("10.npy"), "<f4", &[2, 3], 10);
    npy(&dir.path().join("00.npy"), "<f4", &[3, 3], 1);
    fs::write(dir.path().join("20.bin"), values("<f4", 3, 20)).unwrap();
    fs::write(dir.path().join("notes.txt"), "no samples").unwrap();
    assert_eq!(
        batches(dir.path(), images()),
        [
            [[1., 2., 3., 4., 5., 6.]],
            [[7., 8., 9., 10., 11., 12.]],
            [[13., 14., 15., 20., 21., 22.]],
        ]
    );
}

#[test]
fn the_last_incomplete_batch_is_left_out() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("anything.npy");
    npy(&file, "<f4", &[5, 3], 0);
    assert_eq!(batches(&file, images()).len(), 2);
}

#[test]
fn arrays_named_as_the_inputs_are_taken_together_whatever_their_files() {
    let dir = TempDir::new().unwrap();
    npy(&dir.path().join("image.npy"), "<f4", &[4, 1], 1);
    fs::write(dir.path().join("mask.raw"), values("<i4", 4, 50)).unwrap();
    let both = [("mask", DType::Int32, &[2][..]), ("image", DType::Float32, &[2, 1])];
    let expected = [[[50., 51.], [1., 2.]], [[52., 53.], [3., 4.]]];
    assert_eq!(batches(dir.path(), spec(&both)), expected);
}

#[test]
fn a_folder_may_hold_archives_of_all_inputs() {
    let good = Path::new("tests/fixtures/data/ab.npz");
    let dataset = Dataset::open(good, &IndexMap::new()).unwrap();
    let inputs: Vec<TensorSpec> = dataset
        .names()
        .map(|name| {
            let array = dataset.array(name).unwrap();
            let mut extents = array.shape().0.clone();
            extents[0] = 1;
            let dims = Some(extents.into_iter().map(Dim::Fixed).collect());
            TensorSpec { name: name.to_owned(), dtype: array.dtype(), dims }
        })
        .collect();
    assert!(inputs.len() > 1);
    let batch = BatchSpec::new(&inputs, None, None).unwrap();
    let dir = TempDir::new().unwrap();
    let once = batches(good, batch.clone());
    for name in ["a.npz", "b.npz"] {
        fs::copy(good, dir.path().join(name)).unwrap();
    }
    assert_eq!(batches(dir.path(), batch), [once.clone(), once].concat());
}

#[test]
fn wide_integers_are_narrowed_where_the_library_has_narrow_ones() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("ids.npy");
    npy(&file, "<i8", &[2, 2], 7);
    let ids = spec(&[("ids", DType::Int32, &[2, 2])]);
    assert_eq!(batches(&file, ids.clone()), [[[7., 8., 9., 10.]]]);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() = 1;
    fs::write(&file, bytes).unwrap();
    let mut source = DatasetSource::open(&file, &IndexMap::new(), ids).unwrap();
    let error = source.next_batch().unwrap_err();
    assert!(matches!(error, CalibrationError::TooWide { value: 0x0100_0000_0000_000A, .. }));
}

#[test]
fn a_thousand_files_are_not_open_at_once() {
    let dir = TempDir::new().unwrap();
    for at in 0..1100 {
        npy(&dir.path().join(format!("{at:04}.npy")), "<f4", &[1, 3], 0);
    }
    assert_eq!(batches(dir.path(), images()).len(), 550);
}

#[test]
fn data_that_does_not_fit_is_refused_with_a_next_step() {
    let dir = TempDir::new().unwrap();
    let place = |name: &str| dir.path().join(name);
    npy(&place("one.npy"), "<f4", &[1, 3], 0);
    npy(&place("ints.npy"), "<i4", &[4, 3], 0);
    npy(&place("wide.npy"), "<f4", &[4, 4], 0);
    fs::create_dir(place("empty")).unwrap();
    fs::write(place("odd.bin"), [0; 10]).unwrap();
    let mut whole = fs::read(place("wide.npy")).unwrap();
    whole.truncate(whole.len() - 1);
    fs::write(place("cut.npy"), whole).unwrap();
    let two = spec(&[("image", DType::Float32, &[2, 3]), ("mask", DType::Int32, &[2])]);
    let mut texts: Vec<String> = ["one.npy", "ints.npy", "wide.npy", "empty", "odd.bin", "cut.npy"]
        .map(|name| refusal(&place(name), images()))
        .into();
    texts.push(refusal(&place("one.npy"), two));
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn data_that_ends_early_is_an_error_and_not_the_end() {
    let dir = TempDir::new().unwrap();
    npy(&dir.path().join("a.npy"), "<f4", &[2, 3], 0);
    let second = dir.path().join("b.npy");
    npy(&second, "<f4", &[2, 3], 0);
    let mut source = DatasetSource::open(dir.path(), &IndexMap::new(), images()).unwrap();
    npy(&second, "<f4", &[1, 3], 0);
    assert!(source.next_batch().unwrap().is_some());
    let error = source.next_batch().unwrap_err();
    assert!(matches!(error, CalibrationError::EndsEarly { expected: 2, found: 1, .. }), "{error}");
}
