//! [`Layer`]: what TensorRT's engine inspector says of a layer.
//!
//! What it says depends on the version and on how an engine was built: a name alone, or an object
//! in which every field may be missing. So nothing here is an error.

use serde::Serialize;
use serde_json::Value;

/// Reads the inspector's JSON. Some versions write numbers that JSON lacks (`nan`, `-inf`), control
/// characters inside texts, or a comma too many; those become null, spaces and nothing.
pub(super) fn read_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&repaired(text)))
}

/// The text with what JSON does not allow replaced, outside and inside of quotes.
fn repaired(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let (mut is_quoted, mut is_escaped) = (false, false);
    while let Some(char) = rest.next() {
        if is_quoted {
            fixed.push(if char.is_control() { ' ' } else { char });
            is_quoted = is_escaped || char != '"';
            is_escaped = !is_escaped && char == '\\';
            continue;
        }
        match char {
            '"' => is_quoted = true,
            ']' | '}' => {
                let kept = fixed.trim_end().trim_end_matches(',').len();
                fixed.truncate(kept);
            }
            _ if char.is_ascii_alphabetic() || char == '-' || char == '+' => {
                let mut word = String::from(char);
                while let Some(next) =
                    rest.next_if(|next| next.is_ascii_alphanumeric() || *next == '.')
                {
                    word.push(next);
                }
                let bare = word.trim_start_matches(['-', '+']).to_ascii_lowercase();
                let is_missing = bare.starts_with("nan") || bare.starts_with("inf");
                fixed.push_str(if is_missing { "null" } else { &word });
                continue;
            }
            _ => {}
        }
        fixed.push(char);
    }
    fixed
}

/// A layer of an engine, as far as the inspector describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its name: those of the nodes it came from.
    pub name: String,
    /// What it does, such as `CaskConvolution`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The element types of its outputs, such as `FP16`.
    pub precision: Option<String>,
    /// How its outputs lie in memory, such as `CHW32`.
    pub format: Option<String>,
    /// The kernel that was chosen for it.
    pub tactic: Option<String>,
}

impl Layer {
    /// Reads one layer of the inspector's JSON: an object, or a name alone.
    pub fn read(layer: &Value) -> Self {
        let text = |name: &str| layer[name].as_str().filter(|text| !text.is_empty());
        let outputs = layer["Outputs"].as_array().map_or(&[][..], Vec::as_slice);
        let formats = outputs.iter().filter_map(|output| {
            ["Format/Datatype", "Format", "Datatype"].iter().find_map(|key| output[key].as_str())
        });
        let (precisions, layouts): (Vec<_>, Vec<_>) = formats.map(precision_and_layout).unzip();
        Self {
            name: text("Name").or(layer.as_str()).unwrap_or("(no name)").to_owned(),
            kind: text("LayerType").map(str::to_owned),
            precision: distinct(precisions),
            format: distinct(layouts),
            tactic: text("TacticName").map(str::to_owned),
        }
    }
}

/// The different texts in their order, or nothing.
fn distinct(texts: Vec<Option<String>>) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.into_iter().flatten() {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// Element types as the inspector spells them, in capitals.
const PRECISIONS: [&str; 14] = [
    "FP32", "FP16", "BF16", "FP8", "FP4", "INT64", "INT32", "INT8", "INT4", "UINT8", "BOOL",
    "FLOAT", "HALF", "E8M0",
];

/// Takes a text such as `Thirty-two wide channel vectorized row major INT8 format (kCHW32)` or
/// `Channel major FP16 format where channel % 8 == 0` apart: `INT8` and `CHW32`, `FP16` and `HWC8`.
fn precision_and_layout(text: &str) -> (Option<String>, Option<String>) {
    let mut precision = None;
    let mut rest = Vec::new();
    for word in text.split_whitespace() {
        let capitals = word.to_ascii_uppercase();
        if precision.is_none() && PRECISIONS.contains(&capitals.as_str()) {
            precision = Some(capitals);
        } else if let Some(name) = word.strip_prefix("(k").and_then(|rest| rest.strip_suffix(')')) {
            return (precision, Some(name.to_owned()));
        } else if word != "format" {
            rest.push(word);
        }
    }
    (precision, (!rest.is_empty()).then(|| layout(&rest)))
}

/// TensorRT's short name for a layout that is described in words, or else the words.
fn layout(words: &[&str]) -> String {
    let depth = if words.contains(&"spatial") { "D" } else { "" };
    match words {
        ["Row", "major", "linear"] => "LINEAR".to_owned(),
        ["Channel", "major"] => "HWC".to_owned(),
        ["Channel", "major", .., "where", "channel", "%", multiple, "==", "0"]
        | ["Channel", "major", "where", "channel", "%", multiple, "==", "0", ..] => {
            format!("{depth}HWC{multiple}")
        }
        [width @ ("Two" | "Four" | "Sixteen" | "Thirty-two"), "wide", "channel", ..] => {
            let width = match *width {
                "Two" => 2,
                "Four" => 4,
                "Sixteen" => 16,
                _ => 32,
            };
            match depth {
                "D" => format!("CDHW{width}"),
                _ => format!("CHW{width}"),
            }
        }
        _ => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_json_lacks_in_the_inspectors_text_is_replaced() {
        let text = "{\"Layers\": [{\"Name\": \"a \\\"inf\\\"\tb\", \"Alpha\": -nan, \"Beta\": inf, \
                    \"Clip\": [-1e-05, 6, -inf,], \"On\": true},\n]}";
        let json = read_json(text).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "Layers": [{
                "Name": "a \"inf\" b", "Alpha": null, "Beta": null,
                "Clip": [-1e-05, 6, null], "On": true,
            }] })
        );
        assert!(read_json("{\"Layers\": [").is_err());
    }

    #[test]
    fn formats_are_taken_apart_as_every_generation_spells_them() {
        let cases = [
            ("Row major linear FP32", "FP32", "LINEAR"),
            ("Row major linear FP16 format (kLINEAR)", "FP16", "LINEAR"),
            ("Row major linear BOOL", "BOOL", "LINEAR"),
            ("Row major Int8 format", "INT8", "Row major"),
            (
                "Row major FP16 format where column stride % 64 == 0",
                "FP16",
                "Row major where column stride % 64 == 0",
            ),
            ("Four wide channel vectorized row major Int8 format", "INT8", "CHW4"),
            ("Thirty-two wide channel vectorized row major INT8 format (kCHW32)", "INT8", "CHW32"),
            (
                "Thirty-two wide channel vectorized row major FP16 format with 3 spatial dimensions",
                "FP16",
                "CDHW32",
            ),
            (
                "Thirty-two wide channel vectorized row major INT8 format (kCDHW32) with 3 \
                 spatial dimensions",
                "INT8",
                "CDHW32",
            ),
            ("Channel major FP16 format where channel % 8 == 0", "FP16", "HWC8"),
            (
                "Channel major FP16 format where channel % 8 == 0 with 3 spatial dimensions",
                "FP16",
                "DHWC8",
            ),
            (
                "Channel major FP32 format with 3 spatial dimensions where channel % 4 == 0",
                "FP32",
                "DHWC4",
            ),
        ];
        for (text, precision, layout) in cases {
            let expected = (Some(precision.to_owned()), Some(layout.to_owned()));
            assert_eq!(precision_and_layout(text), expected, "{text}");
        }
        assert_eq!(precision_and_layout("Half"), (Some("HALF".to_owned()), None));
        assert_eq!(precision_and_layout(""), (None, None));
    }

    #[test]
    fn a_layer_is_read_as_far_as_it_is_described() {
        let whole = Layer::read(&json!({
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "Inputs": [{ "Name": "x", "Format/Datatype": "Row major linear FP32" }],
            "Outputs": [
                { "Name": "y", "Format/Datatype": "Row major linear FP16 format (kLINEAR)" },
                { "Name": "z", "Format/Datatype": "Row major linear FP16 format (kLINEAR)" },
                { "Name": "n", "Format/Datatype": "Row major linear INT32 format (kLINEAR)" },
            ],
            "TacticName": "sm80_xmma_fprop",
            "StreamId": 0,
        }));
        let text = |text: &str| Some(text.to_owned());
        let expected = Layer {
            name: "conv1 + relu1".to_owned(),
            kind: text("CaskConvolution"),
            precision: text("FP16, INT32"),
            format: text("LINEAR"),
            tactic: text("sm80_xmma_fprop"),
        };
        assert_eq!(whole, expected);
    }

    #[test]
    fn anything_else_is_a_layer_of_which_less_is_known() {
        let named = |name: &str| Layer { name: name.to_owned(), ..Layer::default() };
        assert_eq!(Layer::read(&json!("conv1")), named("conv1"));
        assert_eq!(Layer::read(&json!({ "Name": "conv1" })), named("conv1"));
        let strange = json!({ "Outputs": 3, "TacticName": "", "LayerType": null });
        for value in [strange, json!(null), json!(7), json!([[]])] {
            assert_eq!(Layer::read(&value), named("(no name)"), "{value}");
        }
    }
}
