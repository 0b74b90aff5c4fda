//! [`OnnxRuntime`]: the libraries of that name, for `doctor`.

use serde_json::{Value, json};

use crate::backend::onnxruntime::discover::{
    DiscoverError, Found, LibraryError, Looked, find, survey,
};

use super::row;

/// What of ONNX Runtime is here.
pub(super) struct OnnxRuntime {
    places: Vec<Looked>,
    chosen: Result<Found, DiscoverError>,
}

impl OnnxRuntime {
    pub(super) fn here() -> Self {
        Self { places: survey(), chosen: find() }
    }

    pub(super) fn json(&self) -> Value {
        let libraries = self.places.iter().flat_map(|place| {
            place.libraries.iter().map(|(path, outcome)| {
                json!({
                    "path": path, "source": place.place, "usable": outcome.is_ok(),
                    "found": outcome.as_ref().ok(),
                    "problem": outcome.as_ref().err().map(ToString::to_string),
                    "help": outcome.as_ref().err().map(LibraryError::help),
                })
            })
        });
        let searched = self.places.iter().map(|place| {
            let note = place.libraries.is_empty().then_some(&place.note);
            json!({ "source": place.place, "libraries": place.libraries.len(), "note": note })
        });
        json!({
            "libraries": libraries.collect::<Vec<_>>(),
            "searched": searched.collect::<Vec<_>>(),
            "chosen": self.chosen.as_ref().ok().map(|found| &found.library),
            "problem": self.chosen.as_ref().err().map(ToString::to_string),
            "help": self.chosen.as_ref().err().map(DiscoverError::help),
        })
    }

    pub(super) fn describe(&self, text: &mut String) {
        let mut heading = "ONNX";
        for (place, (path, outcome)) in self
            .places
            .iter()
            .flat_map(|place| place.libraries.iter().map(move |library| (place.phrase(), library)))
        {
            match outcome {
                Ok(found) => {
                    let chosen = self.chosen.as_ref().ok();
                    let used = chosen.is_some_and(|chosen| chosen.library == found.library);
                    let mark = if used { ", used by backend onnxruntime" } else { "" };
                    row(text, heading, &format!("ONNX Runtime {}{mark}", found.version));
                    row(text, "", &format!("from     {place}"));
                    row(text, "", &format!("library  {}", path.display()));
                }
                Err(error) => {
                    row(text, heading, &format!("cannot be used ({place})"));
                    row(text, "", &error.to_string());
                    row(text, "", &format!("help: {}", error.help()));
                }
            }
            heading = "";
        }
        if !heading.is_empty() {
            let none = "no ONNX Runtime: `trt-pipeline runtime install onnxruntime` installs it";
            row(text, heading, none);
        }
        text.push('\n');
    }
}
