//! Problems with the settings of `calibrate` that show without running anything.

use crate::calibration::{Grid, Method};
use crate::source::Span;
use crate::stage::{CheckContext, FileRef, Problem};

use super::settings::Calibrate;

pub(super) fn problems(settings: &Calibrate, cx: &CheckContext<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code, message: &str, span: Span, help: &str| {
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        problems.push(Problem { code, message, span, label: "here".into(), help });
    };
    if let Some(data) = &settings.data
        && matches!(&data.value, FileRef::Path(path)
            if matches!(path.as_str(), "random" | "synthetic" | "zeros"))
    {
        let message = "ranges of made-up samples are not those of real ones: a model calibrated \
                       with them is silently wrong";
        let help = "name a file with some hundred real samples, such as a part of the training set";
        add("calibrate::made_up_data", message, data.span, help);
    }
    if settings.data.is_none() && settings.cache.is_none() {
        let message = "there is nothing to find ranges from";
        let help = "add `data:` with real samples, or `cache:`";
        add("calibrate::no_data", message, settings.from.span, help);
    }
    if let Some(percentile) = &settings.percentile {
        if settings.method.value != Method::Percentile {
            let message = "`percentile` is only for the method `percentile`";
            let help = "write `method: percentile`, or remove it";
            add("calibrate::percentile", message, percentile.span, help);
        }
        if !(percentile.value > 0.0 && percentile.value <= 100.0) {
            let message =
                format!("`percentile` is {percentile}, expected a number above 0, at most 100");
            add("calibrate::percentile", &message, percentile.span, "99.99 is usual");
        }
    }
    if !settings.symmetric.value {
        let span = settings.symmetric.span;
        if settings.dtype.value == Grid::Fp8E4m3 {
            let message = "floating-point types have no zero point";
            add("calibrate::symmetric", message, span, "remove `symmetric`");
        }
        if settings.cache.is_some() {
            let message = "calibration caches hold scales, but no zero points";
            add("calibrate::symmetric", message, span, "remove `symmetric`, or `cache`");
        }
    }
    for (name, count) in [("batch", &settings.batch), ("samples", &settings.samples)] {
        if let Some(count) = count.as_ref().filter(|count| count.value == 0) {
            let message = format!("`{name}` is 0");
            add("calibrate::count", &message, count.span, "remove it, or write a number from 1");
        }
    }
    for pattern in settings.skip.iter().filter(|pattern| pattern.is_empty()) {
        let help = "write an operator type, or a node's name";
        add("calibrate::skip", "an empty text chooses nothing", pattern.span, help);
    }
    for (name, raw) in &settings.raw {
        if raw.sample_bytes().is_none() {
            let message = format!("raw array `{name}` has samples without bytes, or too many");
            let help = "give the extents of one sample";
            add("calibrate::raw_shape", &message, raw.shape.span, help);
        }
    }
    if let Some(search) = &settings.search {
        let outputs = cx.model.map(|model| model.outputs.as_slice());
        problems.extend(search.problems(outputs));
    }
    problems
}
