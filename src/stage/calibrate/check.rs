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
    if settings.min_channels.value == 0 {
        let help = "write at least 1, which quantizes every layer";
        let span = settings.min_channels.span;
        add("calibrate::count", "`min_channels` is 0", span, help);
    }
    let per_channel = &settings.per_channel;
    let is_given = per_channel.span != Span::default();
    if settings.dtype.value == Grid::Fp8E4m3 && per_channel.value && is_given {
        let message = "weights in `fp8_e4m3` have one scale, `per_channel` is for `int8`";
        add("calibrate::per_channel", message, per_channel.span, "remove `per_channel`");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Spanned;

    fn messages(settings: serde_json::Value, at: &[&str]) -> Vec<String> {
        let mut calibrate: Calibrate = serde_json::from_value(settings).unwrap();
        if at.contains(&"per_channel") {
            calibrate.per_channel = Spanned::new(calibrate.per_channel.value, Span::new(10, 4));
        }
        let found = problems(&calibrate, &CheckContext::default());
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn counts_start_at_one() {
        let settings = serde_json::json!({
            "from": "a", "data": "x.npz", "min_channels": 0, "batch": 0, "samples": 0,
        });
        let expected = ["`batch` is 0", "`samples` is 0", "`min_channels` is 0"];
        assert_eq!(messages(settings, &[]), expected);
    }

    #[test]
    fn scales_for_channels_are_refused_where_there_are_none_and_somebody_wants_them() {
        let fp8 = |per_channel: bool| {
            serde_json::json!({
                "from": "a", "data": "x.npz", "dtype": "fp8_e4m3", "per_channel": per_channel,
            })
        };
        let expected = ["weights in `fp8_e4m3` have one scale, `per_channel` is for `int8`"];
        assert_eq!(messages(fp8(true), &["per_channel"]), expected);
        assert!(messages(fp8(true), &[]).is_empty());
        assert!(messages(fp8(false), &["per_channel"]).is_empty());
    }
}
