//! What `build` asks of TensorRT: the settings in the form the backend reads, and what is wrong
//! with them in a spec.

use std::path::Path;
use std::time::Duration;

use crate::backend::BackendError;
use crate::backend::tensorrt::{self, Calibration, Files, Options, SettingError};
use crate::onnx::ModelSignature;
use crate::source::{Span, Spanned};
use crate::stage::{Accepts, FileRef, Input, Problem, StageContext, StageError};
use crate::tensor::Dim;

use super::profiles::example;
use super::{Build, once};

#[cfg(test)]
mod tests;

impl Build {
    /// Whether its backend is TensorRT.
    pub(super) fn is_for_tensorrt(&self) -> bool {
        self.backend.as_str() == tensorrt::NAME
    }

    /// The settings as TensorRT's backend reads them, with paths that start at the spec's folder.
    pub(super) fn options(&self, spec_dir: &Path) -> Options {
        let mut settings = self.tensorrt.value.value.clone();
        for path in [&mut settings.library, &mut settings.timing_cache].into_iter().flatten() {
            *path = spec_dir.join(&path);
        }
        let calibration = self.int8.as_ref().map(|int8| Calibration {
            calibrator: int8.calibrator,
            batch: int8.batch.map(|batch| batch.value),
            raw: int8.raw.clone(),
        });
        Options {
            compute_capabilities: self.compute_capabilities.value.clone(),
            precision: self.precision.value.clone(),
            int8: calibration,
            settings,
        }
    }

    /// The files for calibration, by role.
    fn calibration_files(&self) -> [(&'static str, Option<&Spanned<FileRef>>); 2] {
        let int8 = self.int8.as_ref();
        [
            ("int8.data", int8.and_then(|int8| int8.data.as_ref())),
            ("int8.cache", int8.and_then(|int8| int8.cache.as_ref())),
        ]
    }

    /// The files that the settings name, by role.
    pub(super) fn files(&self) -> impl Iterator<Item = Input> {
        let calibration = self.calibration_files().into_iter();
        let calibration = calibration.filter_map(|(role, file)| Some((role.to_owned(), file?)));
        let plugins = self.plugins.iter().enumerate().map(|(at, file)| (plugin_role(at), file));
        calibration.chain(plugins).map(|(role, file)| Input {
            role,
            reference: FileRef::reference(file),
            accepts: Accepts::Data,
        })
    }

    /// The files that the settings name, found.
    pub(super) fn resolved_files(&self, cx: &StageContext<'_>) -> Result<Files, StageError> {
        let found = |role: &str| Ok(cx.input(role)?.path.clone());
        let [data, cache] =
            self.calibration_files().map(|(role, file)| file.map(|_| found(role)).transpose());
        let plugins = (0..self.plugins.len()).map(|at| found(&plugin_role(at)));
        Ok(Files {
            calibration_data: data?,
            calibration_cache: cache?,
            plugins: plugins.collect::<Result<_, StageError>>()?,
        })
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.timeout_seconds.as_ref()?.value).ok()
    }

    /// Everything wrong with the settings that only TensorRT has.
    pub(super) fn tensorrt_problems(&self, model: Option<&ModelSignature>) -> Vec<Problem> {
        let mut problems = self.counts();
        problems.extend(self.foreign());
        let contradictions = self.options(Path::new("")).contradictions();
        problems.extend(contradictions.into_iter().map(|error| self.contradiction(error)));
        if self.is_for_tensorrt() && self.profiles.is_empty() {
            problems.extend(model.into_iter().flat_map(|model| self.open_inputs(model)));
        }
        problems
    }

    /// The settings that only TensorRT has and that are not at their default.
    fn given(&self) -> Vec<(&'static str, Span)> {
        let settings = [
            ("compute_capabilities", !self.compute_capabilities.is_default()),
            ("precision", !self.precision.is_default()),
            ("int8", self.int8.is_some()),
            ("plugins", !self.plugins.is_empty()),
            ("builds", self.builds != once()),
            ("timeout_seconds", self.timeout_seconds.is_some()),
            ("tensorrt", !self.tensorrt.is_default()),
        ];
        let given = settings.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(setting, _)| (setting, self.place(setting))).collect()
    }

    /// Where a setting stands, or else what made TensorRT the backend.
    fn place(&self, setting: &str) -> Span {
        let mut keys = setting.split('.');
        let span = match keys.next() {
            Some("compute_capabilities") => Some(self.compute_capabilities.span),
            Some("precision") => Some(self.precision.span),
            Some("int8") => self.int8.as_ref().map(|int8| int8.span),
            Some("plugins") => self.plugins.first().map(|plugin| plugin.span),
            Some("builds") => Some(self.builds.span),
            Some("timeout_seconds") => self.timeout_seconds.map(|seconds| seconds.span),
            Some("tensorrt") => {
                keys.next().and_then(|key| self.tensorrt.place(key)).or(Some(self.tensorrt.span))
            }
            _ => None,
        };
        // What nobody wrote stands nowhere.
        span.filter(|span| *span != Span::default()).unwrap_or(self.backend.span)
    }

    /// One cause, one problem: it stands at the first of the settings and names them all.
    fn foreign(&self) -> Option<Problem> {
        let backend = self.backend.as_str();
        let mut given = self.given();
        given.sort_by_key(|(_, span)| *span);
        let span = given.first().filter(|_| backend != tensorrt::NAME)?.1;
        let names: Vec<String> = given.iter().map(|(setting, _)| format!("`{setting}`")).collect();
        let names = names.join(", ");
        Some(Problem {
            code: "build::only_tensorrt",
            message: format!("settings for TensorRT, but the backend is `{backend}`: {names}"),
            span,
            label: format!("nothing that `{backend}` has"),
            help: Some(format!("write `backend: {}`, or remove them", tensorrt::NAME)),
        })
    }

    fn counts(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |code, message: String, span, help: &str| {
            let help = Some(help.to_owned());
            problems.push(Problem { code, message, span, label: "here".into(), help });
        };
        if self.builds.value == 0 {
            add("build::builds", "`builds` is 0".into(), self.builds.span, "build once or more");
        }
        if self.is_for_tensorrt() && self.builds.value > 1 && !self.compute_capabilities.is_empty()
        {
            let message = "engines for `compute_capabilities` are built without their GPU, so the \
                           fastest of several cannot be told";
            add("build::builds", message.into(), self.builds.span, "remove `builds`");
        }
        if let Some(seconds) = &self.timeout_seconds
            && !(seconds.value > 0.0 && self.timeout().is_some())
        {
            let message = format!("`timeout_seconds` is {seconds}, expected a number above 0");
            add("build::timeout", message, seconds.span, "remove it to build without a limit");
        }
        let Some(int8) = &self.int8 else { return problems };
        if int8.data.is_none() && int8.cache.is_none() {
            let message = "`int8` has nothing to find ranges from".into();
            add("build::int8", message, int8.span, "add `data:` with samples, or `cache:`");
        }
        for (name, raw) in &int8.raw {
            if raw.sample_bytes().is_none() {
                let message = format!("raw array `{name}` has samples without bytes, or too many");
                add("build::raw_shape", message, raw.shape.span, "give the extents of one sample");
            }
        }
        problems
    }

    fn contradiction(&self, error: SettingError) -> Problem {
        Problem {
            code: "build::setting",
            message: format!("`{}`: {}", error.setting, error.reason),
            span: self.place(error.setting),
            label: "here".into(),
            help: Some(error.help),
        }
    }

    /// Inputs whose range TensorRT must be told.
    fn open_inputs(&self, model: &ModelSignature) -> Vec<Problem> {
        let is_open = |dims: &Vec<Dim>| dims.iter().any(|dim| !matches!(dim, Dim::Fixed(_)));
        let open = model.inputs.iter().filter(|input| input.dims.as_ref().is_none_or(is_open));
        let problems = open.map(|input| Problem {
            code: "build::profile_missing",
            message: format!(
                "the shape {} of input `{}` is open, and TensorRT needs its range",
                input.dims_text(),
                input.name
            ),
            span: self.backend.span,
            label: "builds for ranges of shapes".into(),
            help: Some(format!("add profiles, such as `profiles: [{{ {} }}]`", example(input))),
        });
        problems.collect()
    }

    /// A backend's error, at the place of the setting it is about.
    pub(super) fn placed(&self, error: BackendError) -> StageError {
        match error {
            BackendError::Setting { setting, reason, help } => StageError::Setting {
                message: format!("`{setting}`: {reason}"),
                span: self.place(&setting),
                help: Some(help),
            },
            error => error.into(),
        }
    }
}

fn plugin_role(at: usize) -> String {
    format!("plugins.{at}")
}
