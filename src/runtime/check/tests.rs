use bytes::Bytes;

use super::*;
use crate::backend::ShapeRange;
use crate::backend::fake::spec;
use crate::tensor::DType;

fn rules(max_batch: Option<usize>) -> Rules {
    Rules {
        max_batch,
        max_delay: std::time::Duration::ZERO,
        preferred: Vec::new(),
        levels: 1,
        limit: 1,
        preserve_ordering: false,
    }
}

fn pair(max_batch: Option<usize>, pad: bool, profiles: &[Profile]) -> Interface {
    let inputs = [spec("ids", &["batch", "seq"]), spec("mask", &["batch", "seq", "2"])];
    let outputs = [spec("y", &["batch", "seq", "3"]), spec("z", &["batch", "4"])];
    Interface::new(&inputs, &outputs, profiles, &rules(max_batch), pad)
}

fn request(shapes: &[&[usize]]) -> InferRequest {
    let tensor = |shape: &&[usize]| InputTensor {
        shape: Shape(shape.to_vec()),
        bytes: Bytes::from(vec![0; shape.iter().product::<usize>() * 4]),
    };
    InferRequest {
        inputs: shapes.iter().map(tensor).collect(),
        outputs: vec![0],
        priority: None,
        deadline: None,
    }
}

fn refusal(interface: &Interface, shapes: &[&[usize]]) -> String {
    interface.check(&request(shapes)).unwrap_err().to_string()
}

#[test]
fn what_does_not_fit_is_refused_by_name_with_what_would_fit() {
    let batched = pair(Some(8), false, &[]);
    let refused = [
        (&[&[2, 3][..]][..], "the request has 1 inputs, the model takes 2: `ids`, `mask`"),
        (&[&[2], &[2, 3, 2]], "input `ids`: its shape is [2], the model takes [batch,seq]"),
        (
            &[&[2, 3], &[2, 3, 9]],
            "input `mask`: its shape is [2,3,9], the model takes [batch,seq,2]",
        ),
        (&[&[0, 3], &[0, 3, 2]], "input `ids`: its batch is empty: its shape is [0,3]"),
        (&[&[1, 0], &[1, 0, 2]], "input `ids`: it is empty: its shape is [1,0]"),
        (&[&[9, 3], &[9, 3, 2]], "input `ids`: its batch is 9, the model takes at most 8"),
        (
            &[&[2, 3], &[2, 4, 2]],
            "input `mask`: axis 1 is 4, and 3 in input `ids`, of the same name `seq`",
        ),
        (
            &[&[2, 3], &[1, 3, 2]],
            "input `mask`: axis 0 is 1, and 2 in input `ids`, of the same name `batch`",
        ),
    ];
    for (shapes, expected) in refused {
        assert_eq!(refusal(&batched, shapes), expected);
    }
    let mut outputs = request(&[&[1, 1], &[1, 1, 2]]);
    outputs.outputs = vec![0, 2];
    let error = batched.check(&outputs).unwrap_err().to_string();
    assert_eq!(error, "there is no output 2: the model has 2");
}

#[test]
fn bytes_and_shape_must_agree_and_a_shape_past_memory_is_no_panic() {
    let batched = pair(Some(8), false, &[]);
    let mut lying = request(&[&[1, 3], &[1, 3, 2]]);
    lying.inputs[0].bytes = Bytes::from_static(&[0; 11]);
    let error = batched.check(&lying).unwrap_err().to_string();
    assert_eq!(error, "input `ids`: it has 11 bytes, a float32 [1,3] has 12");
    lying.inputs[0].shape = Shape(vec![1, usize::MAX]);
    let error = batched.check(&lying).unwrap_err().to_string();
    assert!(error.ends_with("fits in no memory"), "{error}");
}

#[test]
fn axes_without_a_name_must_be_one_batch_too() {
    let unnamed = |name: &str| TensorSpec {
        name: name.to_owned(),
        dtype: DType::Float32,
        dims: Some(vec![Dim::Any]),
    };
    let inputs = [unnamed("a"), unnamed("b")];
    let interface = Interface::new(&inputs, &[], &[], &rules(Some(4)), false);
    let mut request = request(&[&[2], &[3]]);
    request.outputs.clear();
    let error = interface.check(&request).unwrap_err().to_string();
    assert_eq!(error, "input `b`: its batch is 3, that of input `a` is 2");
    let alone = Interface::new(&inputs, &[], &[], &rules(None), false);
    assert_eq!(alone.check(&request).unwrap(), Fit { samples: 1, shape: Vec::new() });
}

#[test]
fn requests_share_a_batch_where_their_open_axes_are_equal_or_padded() {
    let fit = |pad: bool, batch, seq| {
        pair(Some(8), pad, &[]).check(&request(&[&[batch, seq], &[batch, seq, 2]])).unwrap()
    };
    assert_eq!(fit(false, 2, 3), Fit { samples: 2, shape: vec![3, 3] });
    assert_ne!(fit(false, 2, 3).shape, fit(false, 2, 4).shape);
    assert_eq!(fit(true, 1, 3), Fit { samples: 1, shape: Vec::new() });
}

#[test]
fn a_model_of_unknown_rank_joins_only_equal_shapes() {
    let open = TensorSpec { name: "x".to_owned(), dtype: DType::Float32, dims: None };
    let of = |shape: &[usize], pad| {
        let interface = Interface::new(
            std::slice::from_ref(&open),
            &[spec("y", &["batch"])],
            &[],
            &rules(Some(4)),
            pad,
        );
        interface.check(&request(&[shape]))
    };
    assert_eq!(of(&[2, 5, 6], false).unwrap().shape, [3, 5, 6]);
    assert_eq!(of(&[2, 5, 6], true).unwrap().shape, [3]);
    let error = of(&[], false).unwrap_err().to_string();
    assert_eq!(error, "input `x`: it has no batch axis: its shape is []");
}

#[test]
fn profiles_bound_all_axes_but_that_of_the_batch() {
    let profile = |low: usize, high: usize| {
        let range = |inner: &[usize]| {
            let shape = |seq: usize| Shape([&[1, seq], inner].concat());
            ShapeRange { min: shape(low), opt: shape(low), max: shape(high) }
        };
        Profile::from([("ids".to_owned(), range(&[])), ("mask".to_owned(), range(&[2]))])
    };
    let profiles = [profile(1, 4), profile(8, 16)];
    let batched = pair(Some(8), true, &profiles);
    let fit = |seq| batched.check(&request(&[&[5, seq], &[5, seq, 2]]));
    assert_eq!(fit(3).unwrap().shape, [0]);
    assert_eq!(fit(9).unwrap().shape, [1]);
    assert_eq!(
        fit(6).unwrap_err().to_string(),
        "input `ids`: its shape is [5,6], the engine was built for [1,1] to [1,4], or [1,8] to \
         [1,16]"
    );
    let alone = pair(None, false, &profiles);
    assert!(alone.check(&request(&[&[1, 3], &[1, 3, 2]])).is_ok());
    assert!(alone.check(&request(&[&[2, 3], &[2, 3, 2]])).is_err());
}

#[test]
fn outputs_follow_the_input_axes_of_their_names() {
    assert_eq!(
        pair(Some(8), true, &[]).follows,
        [vec![None, Some((0, 1)), None], vec![None, None]]
    );
}
