#![expect(clippy::default_trait_access, reason = "the zip crate is not ours to name")]

use std::io::Write;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::source::Spanned;
use crate::tensor::DType;

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let dict = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}}}\n");
    let mut bytes = npy::MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(dict.len()).unwrap().to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A zip archive whose entries are stored, as `numpy.savez` writes it.
fn stored_zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in entries {
        let offset = u32::try_from(zip.len()).unwrap();
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        let name_len = u16::try_from(name.len()).unwrap().to_le_bytes();
        // Version, flags, method, time, date, CRC, sizes, lengths.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0];
        common.extend([size, size].concat());
        common.extend(name_len);
        common.extend([0, 0]);
        zip.extend(b"PK\x03\x04");
        zip.extend(&common);
        zip.extend(name.as_bytes());
        zip.extend(data);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (start, len) = (zip.len(), directory.len());
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count, count].concat());
    zip.extend(u32::try_from(len).unwrap().to_le_bytes());
    zip.extend(u32::try_from(start).unwrap().to_le_bytes());
    zip.extend([0, 0]);
    zip
}

/// An archive with compressed `x` (f32, 6 samples of 2) and `label` (i64, 6 samples).
fn deflated_zip() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = NpzWriter::new(&mut bytes);
    let mut x = writer
        .array::<f32>("x", Default::default())
        .unwrap()
        .default_dtype()
        .shape(&[6, 2])
        .begin_nd()
        .unwrap();
    x.extend((0..12_u8).map(f32::from)).unwrap();
    x.finish().unwrap();
    let mut label = writer
        .array::<i64>("label", Default::default())
        .unwrap()
        .default_dtype()
        .shape(&[6])
        .begin_nd()
        .unwrap();
    label.extend([5, 4, 3, 2, 1, 0]).unwrap();
    label.finish().unwrap();
    drop(writer);
    bytes.into_inner()
}

struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let files_in = Self(TempDir::new().unwrap());
        for (name, bytes) in files {
            let path = files_in.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        files_in
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Result<Dataset, DataError> {
        Dataset::open(&self.path(name), &IndexMap::new())
    }

    /// The error without the folder's name, which differs from run to run.
    fn refusal(&self, error: &DataError) -> String {
        let root = format!("{}/", self.0.path().display());
        let help = error.help().map_or(String::new(), |help| format!(" ({help})"));
        format!("{error}{help}").replace(&root, "")
    }
}

fn refusal_of(bytes: Vec<u8>) -> String {
    let files = Files::new(&[("f", bytes)]);
    let error = match files.open("f") {
        Err(error) => error,
        Ok(data) => {
            let names: Vec<&str> = data.names().collect();
            let error = names.iter().find_map(|name| match data.array(name) {
                Err(error) => Some(error),
                Ok(array) => array.rows(0, usize::MAX).err(),
            });
            error.expect("the file is refused")
        }
    };
    files.refusal(&error)
}

#[test]
fn compressed_and_stored_archives_give_the_same_rows() {
    let x: Vec<f32> = (0..12_u8).map(f32::from).collect();
    let stored = stored_zip(&[
        ("x.npy", npy("<f4", "False", "(6, 2)", &floats(&x))),
        ("readme.txt", b"not an array".to_vec()),
    ]);
    let files = Files::new(&[("stored", stored), ("deflated", deflated_zip())]);
    for name in ["stored", "deflated"] {
        let data = files.open(name).unwrap();
        let array = data.array("x").unwrap();
        assert_eq!((array.dtype(), array.samples()), (DType::Float32, 6));
        assert_eq!(array.rows(2, 4).unwrap().to_f64(), [4., 5., 6., 7.]);
        let tail = array.rows(5, 99).unwrap();
        assert_eq!(tail.shape().0, [1, 2]);
        assert_eq!(tail.to_f64(), [10., 11.]);
        assert_eq!(array.rows(9, 99).unwrap().shape().0, [0, 2]);
    }
    let deflated = files.open("deflated").unwrap();
    assert_eq!(deflated.names().collect::<Vec<_>>(), ["label", "x"]);
    assert_eq!(deflated.array("label").unwrap().rows(0, 3).unwrap().to_f64(), [5., 4., 3.]);
}

#[test]
fn a_folder_of_npy_files_is_named_by_their_stems_and_big_endian_is_turned() {
    let big = [1_i32, -2].iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let half = half::f16::from_f32(0.5).to_le_bytes().to_vec();
    let files = Files::new(&[
        ("d/a.npy", npy(">i4", "False", "(2,)", &big)),
        ("d/b.npy", npy("<f2", "False", "(1, 1)", &half)),
        ("d/c.npy", npy("|b1", "False", "(3,)", &[0, 1, 7])),
        ("d/notes.txt", b"x".to_vec()),
    ]);
    let data = files.open("d").unwrap();
    assert_eq!(data.array("a").unwrap().rows(0, 2).unwrap().to_f64(), [1., -2.]);
    assert_eq!(data.array("b").unwrap().rows(0, 1).unwrap().to_f64(), [0.5]);
    assert_eq!(data.array("c").unwrap().rows(0, 3).unwrap().bytes(), [0, 1, 1]);
    assert_eq!(files.open("d/a.npy").unwrap().names().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn raw_files_are_samples_in_the_order_of_their_names() {
    let raw = |shape: &[usize]| RawArray {
        dtype: Spanned::unplaced(DType::Float32),
        shape: Spanned::unplaced(shape.iter().map(|&extent| Spanned::unplaced(extent)).collect()),
    };
    let one = IndexMap::from([("x".to_owned(), raw(&[2]))]);
    let files = Files::new(&[
        ("flat/b.raw", floats(&[3., 4.])),
        ("flat/a.bin", floats(&[1., 2.])),
        ("deep/x/0.bin", floats(&[1., 2.])),
        ("deep/x/1.bin", floats(&[3., 4.])),
        ("deep/label.bin", floats(&[7., 8.])),
        ("all.bin", floats(&[1., 2., 3., 4.])),
        ("short/0.bin", floats(&[1.])),
        ("none/readme", vec![1]),
    ]);
    for place in ["flat", "deep", "all.bin"] {
        let data = Dataset::open(&files.path(place), &one).unwrap();
        let array = data.array("x").unwrap();
        assert_eq!(array.shape().0, [2, 2], "{place}");
        assert_eq!(array.rows(0, 2).unwrap().to_f64(), [1., 2., 3., 4.], "{place}");
        assert_eq!(array.rows(1, 2).unwrap().to_f64(), [3., 4.], "{place}");
    }
    let two = IndexMap::from([("x".to_owned(), raw(&[2])), ("label".to_owned(), raw(&[]))]);
    let data = Dataset::open(&files.path("deep"), &two).unwrap();
    assert_eq!(data.array("label").unwrap().rows(1, 2).unwrap().to_f64(), [8.]);
    for (place, raw, message) in [
        ("short", &one, "raw file `short/0.bin` has 4 bytes, float32 [2] needs 8"),
        ("none", &one, "`none` contains no raw files of array `x`"),
        ("flat", &two, "`flat` contains no raw files of array `x`"),
        ("all.bin", &two, "`all.bin` is one raw file, but several raw arrays are declared"),
    ] {
        let error = Dataset::open(&files.path(place), raw).unwrap_err();
        assert!(files.refusal(&error).starts_with(message), "{error}");
    }
}

#[test]
fn every_kind_of_bad_file_is_refused_with_a_reason_and_a_next_step() {
    let ones = floats(&[1.; 4]);
    let mut truncated = deflated_zip();
    truncated.truncate(truncated.len() - 30);
    let twice = npy("<f4", "False", "(4,)", &ones);
    let bomb = npy("<f4", "False", "(4000000000, 4000000000, 4000000000)", &ones);
    let lying = stored_zip(&[("x.npy", npy("<f4", "False", "(400000,)", &ones))]);
    let lines = [
        refusal_of(Vec::new()),
        refusal_of(b"hello world".to_vec()),
        refusal_of(truncated),
        refusal_of(stored_zip(&[])),
        refusal_of(stored_zip(&[("x.npy", twice.clone()), ("x.npy\0b.npy", twice.clone())])),
        refusal_of(npy("<f4", "False", "(5,)", &ones)),
        refusal_of(npy("<f4", "False", "(3,)", &ones)),
        refusal_of(npy("<f4", "True", "(2, 2)", &ones)),
        refusal_of(npy("|O", "False", "(2, 2)", &ones)),
        refusal_of(npy("<f4", "False", "(0, 2)", &[])),
        refusal_of(npy("<f4", "False", "()", &ones[..4])),
        refusal_of(bomb),
        refusal_of(lying),
        refusal_of(b"\x93NUMPY\x01\0\xff\xff{".to_vec()),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn an_array_must_be_there_and_fit_the_tensor_it_stands_for() {
    let files = Files::new(&[("f", deflated_zip())]);
    let data = files.open("f").unwrap();
    let tensor = |name: &str, dtype, dims: Vec<Dim>| TensorSpec {
        name: name.into(),
        dtype,
        dims: Some(dims),
    };
    let batch = Dim::Symbol("batch".into());
    let good = [tensor("x", DType::Float32, vec![batch.clone(), Dim::Fixed(2)])];
    let arrays = data.columns_for(&good).unwrap();
    assert_eq!(data.common_samples(&arrays).unwrap(), 6);
    let fixed = [tensor("x", DType::Float32, vec![Dim::Fixed(1), Dim::Any])];
    assert!(data.columns_for(&fixed).is_ok(), "axis 0 is for the batches to fit");
    let lines: Vec<String> = [
        tensor("labels", DType::Int64, vec![batch.clone()]),
        tensor("x", DType::Float64, vec![batch.clone(), Dim::Fixed(2)]),
        tensor("x", DType::Float32, vec![batch.clone(), Dim::Fixed(3)]),
        tensor("x", DType::Float32, vec![batch]),
    ]
    .iter()
    .map(|tensor| files.refusal(&data.columns_for(std::slice::from_ref(tensor)).unwrap_err()))
    .collect();
    insta::assert_snapshot!(lines.join("\n"));
    let uneven = Files::new(&[
        ("d/a.npy", npy("|u1", "False", "(2,)", &[0, 0])),
        ("d/b.npy", npy("|u1", "False", "(3,)", &[0, 0, 0])),
    ]);
    let data = uneven.open("d").unwrap();
    let (a, b) = (data.array("a").unwrap(), data.array("b").unwrap());
    assert_eq!(
        uneven.refusal(&data.common_samples(&[a.into(), b.into()]).unwrap_err()),
        "arrays of `d` differ in their number of samples: `a` has 2, `b` has 3 (axis 0 of every \
         array counts the samples)"
    );
}

#[test]
fn a_false_size_in_an_archive_is_found_when_unpacking() {
    let mut bytes = deflated_zip();
    // The directory's record of `label.npy` says what unpacking must give; the header agrees.
    let header = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    let size = u32::from_le_bytes(bytes[header + 24..header + 28].try_into().unwrap());
    bytes[header + 24..header + 28].copy_from_slice(&(size + 8).to_le_bytes());
    assert!(refusal_of(bytes).contains("array `label`"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_and_damaged_bytes_never_panic(
        kind in 0..4_usize,
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = match kind {
            0 => [b"PK\x03\x04".as_slice(), &noise].concat(),
            1 => npy("<f4", "False", "(2, 2)", &noise[..noise.len().min(16)]),
            2 => deflated_zip(),
            _ => stored_zip(&[("x.npy", npy("<f4", "False", "(1, 2)", &floats(&[1., 2.])))]),
        };
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(cut.index(bytes.len() * 2).max(4));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        if let Ok(data) = Dataset::open(file.path(), &IndexMap::new()) {
            for name in data.names() {
                if let Ok(array) = data.array(name) {
                    let _ = array.rows(0, 2);
                }
            }
        }
    }
}

#[test]
fn raw_files_that_nobody_declares_are_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("image")).unwrap();
    fs::write(folder.path().join("image/0.bin"), [0; 8]).unwrap();
    let error = Dataset::open(folder.path(), &IndexMap::new()).unwrap_err();
    let seen = error.to_string();
    assert!(seen.ends_with("has raw files in `image`, which the spec does not declare"), "{seen}");
    assert_eq!(
        error.help().unwrap(),
        "add `raw: { image: { dtype: float32, shape: [..] } }` with the type and the shape of one \
         sample"
    );
    let other: RawArray =
        serde_json::from_value(serde_json::json!({ "dtype": "float32", "shape": [2] })).unwrap();
    let raw = IndexMap::from([("img".to_owned(), other)]);
    let error = Dataset::open(folder.path(), &raw).unwrap_err();
    assert!(error.to_string().ends_with("contains no raw files of array `img`"), "{error}");
    assert_eq!(
        error.help().unwrap(),
        "there are raw files in `image`: declare them under that name in place of `img`"
    );
}
