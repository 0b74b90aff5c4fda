//! Whether optimization profiles make sense, by themselves and for a model's inputs.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::onnx::ModelSignature;
use crate::source::Spanned;
use crate::stage::Problem;
use crate::suggest::did_you_mean;
use crate::tensor::{DType, Dim, TensorSpec};

use super::ShapeRangeSetting;

type ProfileSetting = IndexMap<Spanned<String>, ShapeRangeSetting>;
type Extents = Spanned<Vec<Spanned<usize>>>;

/// Everything wrong with the profiles; `model` is looked at where it is known. `may_be_values` says
/// whether the backend takes ranges of values for inputs that hold a shape.
pub(super) fn problems(
    profiles: &[Spanned<ProfileSetting>],
    model: Option<&ModelSignature>,
    may_be_values: bool,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for profile in profiles {
        if profile.is_empty() {
            problems.push(Problem {
                code: "build::profile_empty",
                message: "a profile without inputs".to_owned(),
                span: profile.span,
                label: "names no input".to_owned(),
                help: Some(
                    "remove it, or give the shapes of an input: `x: { min, opt, max }`".into(),
                ),
            });
            continue;
        }
        for (name, range) in &profile.value {
            check_range(name, range, &mut problems);
            check_size(name, range, &mut problems);
            let input = model.and_then(|model| model.input(name));
            let has_values = model.is_none() || input.is_some_and(|input| values(input).is_some());
            if !(may_be_values && has_values) {
                check_empty(name, range, &mut problems);
                check_elements(name, range, &mut problems);
            }
        }
        if let Some(model) = model {
            check_model(profile, model, may_be_values, &mut problems);
        }
    }
    problems
}

/// How many values an input has that may hold a shape: an integer, or a list of as many integers as
/// the model says. Whether it does is seen when the model is compiled.
fn values(input: &TensorSpec) -> Option<usize> {
    let is_integer = matches!(input.dtype, DType::Int32 | DType::Int64);
    match input.dims.as_deref()? {
        [] => is_integer.then_some(1),
        [Dim::Fixed(count)] => is_integer.then_some(*count),
        _ => None,
    }
}

/// No extent is 0.
fn check_empty(name: &Spanned<String>, range: &ShapeRangeSetting, problems: &mut Vec<Problem>) {
    for extent in [&range.min, &range.opt, &range.max].into_iter().flat_map(|e| &e.value) {
        if extent.value == 0 {
            problems.push(Problem {
                code: "build::profile_range",
                message: format!("an extent of `{name}` is 0"),
                span: extent.span,
                label: "would be an empty tensor".to_owned(),
                help: Some("extents start at 1".into()),
            });
        }
    }
}

/// Every number is one of ONNX, whose extents and integers are signed.
fn check_size(name: &Spanned<String>, range: &ShapeRangeSetting, problems: &mut Vec<Problem>) {
    for extent in [&range.min, &range.opt, &range.max].into_iter().flat_map(|e| &e.value) {
        if i64::try_from(extent.value).is_err() {
            problems.push(Problem {
                code: "build::profile_range",
                message: format!("an extent of `{name}` is {extent}"),
                span: extent.span,
                label: format!("more than {}", i64::MAX),
                help: Some("write the largest extent that is really needed".into()),
            });
        }
    }
}

/// The largest tensor has a number of elements that can be counted.
fn check_elements(name: &Spanned<String>, range: &ShapeRangeSetting, problems: &mut Vec<Problem>) {
    let countable = |count: i64, extent: &Spanned<usize>| {
        count.checked_mul(i64::try_from(extent.value).unwrap_or(1))
    };
    if range.max.iter().try_fold(1, countable).is_none() {
        problems.push(Problem {
            code: "build::profile_range",
            message: format!("`max` of `{name}` has more elements than can be counted"),
            span: range.max.span,
            label: "the product of these extents".to_owned(),
            help: Some("write the largest extents that are really needed".into()),
        });
    }
}

/// Ranks agree and min <= opt <= max on every axis.
fn check_range(name: &Spanned<String>, range: &ShapeRangeSetting, problems: &mut Vec<Problem>) {
    let rank = range.min.len();
    for (word, extents) in [("opt", &range.opt), ("max", &range.max)] {
        if extents.len() != rank {
            problems.push(Problem {
                code: "build::profile_rank",
                message: format!(
                    "the shapes of `{name}` differ in rank: `min` has {}, `{word}` has {}",
                    axes(rank),
                    axes(extents.len())
                ),
                span: extents.span,
                label: axes(extents.len()),
                help: Some("give `min`, `opt` and `max` one extent per axis of the input".into()),
            });
        }
    }
    let pairs = [("min", &range.min, "opt", &range.opt), ("opt", &range.opt, "max", &range.max)];
    for (low_word, low, high_word, high) in pairs {
        for (axis, (low, high)) in low.iter().zip(&high.value).enumerate() {
            if low.value > high.value {
                problems.push(Problem {
                    code: "build::profile_range",
                    message: format!(
                        "axis {axis} of `{name}` has `{low_word}` {low} above `{high_word}` {high}"
                    ),
                    span: low.span,
                    label: format!("more than `{high_word}`, which is {high}"),
                    help: Some("order them as min <= opt <= max on every axis".into()),
                });
            }
        }
    }
}

fn check_model(
    profile: &Spanned<ProfileSetting>,
    model: &ModelSignature,
    may_be_values: bool,
    problems: &mut Vec<Problem>,
) {
    for (name, range) in &profile.value {
        match model.input(name) {
            Some(input) => check_input(input, range, may_be_values, problems),
            None => problems.push(Problem {
                code: "build::profile_input",
                message: format!("the model has no input `{name}`"),
                span: name.span,
                label: "not an input of the model".to_owned(),
                help: Some(did_you_mean(
                    name,
                    model.inputs.iter().map(|input| input.name.as_str()),
                    "inputs",
                )),
            }),
        }
    }
    for input in &model.inputs {
        let open = input
            .dims
            .as_ref()
            .is_none_or(|dims| dims.iter().any(|dim| !matches!(dim, Dim::Fixed(_))));
        let given = profile.keys().any(|name| name.value == input.name);
        if open && !given {
            problems.push(Problem {
                code: "build::profile_incomplete",
                message: format!(
                    "the profile says nothing of input `{}`, whose shape {} is open",
                    input.name,
                    input.dims_text()
                ),
                span: profile.span,
                label: format!("`{}` is missing", input.name),
                help: Some(format!("such as `{}`", example(input))),
            });
        }
    }
    check_symbols(profile, model, problems);
}

/// A range for an input: its own extents, where they are open one sample to some, and dots where
/// nobody can guess.
pub(super) fn example(input: &TensorSpec) -> String {
    let shape = |samples: usize| match &input.dims {
        None => "..".to_owned(),
        Some(dims) => {
            let extent = |(axis, dim): (usize, &Dim)| match dim {
                Dim::Fixed(extent) => extent.to_string(),
                Dim::Symbol(_) | Dim::Any if axis == 0 => samples.to_string(),
                Dim::Symbol(_) | Dim::Any => "..".to_owned(),
            };
            let extents: Vec<String> = dims.iter().enumerate().map(extent).collect();
            format!("[{}]", extents.join(", "))
        }
    };
    let [min, opt, max] = [1, 8, 32].map(shape);
    format!("{}: {{ min: {min}, opt: {opt}, max: {max} }}", input.name)
}

/// One input's range against the axes the model declares.
fn check_input(
    input: &TensorSpec,
    range: &ShapeRangeSetting,
    may_be_values: bool,
    problems: &mut Vec<Problem>,
) {
    let Some(dims) = &input.dims else { return };
    let values = values(input).filter(|_| may_be_values);
    for extents in [&range.min, &range.opt, &range.max] {
        if values == Some(extents.len()) {
            continue;
        }
        if extents.len() != dims.len() {
            problems.push(Problem {
                code: "build::profile_rank",
                message: format!(
                    "input `{}` has {}, the profile gives {}",
                    input.name,
                    axes(dims.len()),
                    axes(extents.len())
                ),
                span: extents.span,
                label: format!("the model declares {}", input.dims_text()),
                help: values.map(|count| {
                    format!(
                        "if `{}` holds a shape, give the range of its {count} values",
                        input.name
                    )
                }),
            });
            continue;
        }
        for (axis, (dim, extent)) in dims.iter().zip(&extents.value).enumerate() {
            if let Dim::Fixed(fixed) = dim
                && *fixed != extent.value
            {
                problems.push(Problem {
                    code: "build::profile_fixed_axis",
                    message: format!(
                        "axis {axis} of input `{}` is {fixed} in the model, the profile gives {extent}",
                        input.name
                    ),
                    span: extent.span,
                    label: format!("the model fixes it to {fixed}"),
                    help: Some(format!("write {fixed} here: the model declares {}", input.dims_text())),
                });
            }
        }
    }
}

/// Axes of one name are one extent: at each of min, opt and max they must agree.
fn check_symbols(
    profile: &Spanned<ProfileSetting>,
    model: &ModelSignature,
    problems: &mut Vec<Problem>,
) {
    type Pick = fn(&ShapeRangeSetting) -> &Extents;
    let picks: [(&str, Pick); 3] =
        [("min", |range| &range.min), ("opt", |range| &range.opt), ("max", |range| &range.max)];
    for (word, pick) in picks {
        let mut bound: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for (name, range) in &profile.value {
            let spec = model.input(name);
            let dims = spec.and_then(|spec| spec.dims.as_ref()).into_iter().flatten();
            for (dim, extent) in dims.zip(&pick(range).value) {
                let Dim::Symbol(symbol) = dim else { continue };
                let (first, by) = *bound.entry(symbol).or_insert((extent.value, name));
                if first != extent.value {
                    problems.push(disagreement(symbol, word, (first, by), (name, extent)));
                }
            }
        }
    }
}

fn disagreement(
    symbol: &str,
    word: &str,
    (first, by): (usize, &str),
    (name, extent): (&Spanned<String>, &Spanned<usize>),
) -> Problem {
    Problem {
        code: "build::profile_symbol",
        message: format!(
            "`{symbol}` is one extent in the model, but `{word}` makes it {first} for `{by}` and {extent} for `{name}`"
        ),
        span: extent.span,
        label: format!("`{symbol}` is {first} in `{by}`"),
        help: Some(format!("give axes that the model calls `{symbol}` the same extents")),
    }
}

fn axes(count: usize) -> String {
    if count == 1 { "1 axis".to_owned() } else { format!("{count} axes") }
}
