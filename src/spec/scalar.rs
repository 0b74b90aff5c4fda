//! Single values: their text, and what it means by the YAML 1.2 core schema.

/// The text of a single value and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, escapes resolved.
    pub text: String,
    /// What it may mean.
    pub style: Style,
}

/// What a scalar's text may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Unquoted: null, a boolean, a number or a string, by its look.
    Plain,
    /// Quoted or a block: a string.
    Text,
    /// From the environment: a string where a string is wanted, else as if unquoted.
    Environment,
}

/// A plain scalar by its look (YAML 1.2 core schema).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a fraction or exponent, or `.inf`, `.nan`.
    Float(f64),
    /// Anything else.
    Text,
}

impl Scalar {
    /// What the scalar is, disregarding what is wanted.
    pub fn plain(&self) -> Plain {
        match self.style {
            Style::Text => Plain::Text,
            Style::Plain | Style::Environment => resolve_plain(&self.text),
        }
    }
}

fn resolve_plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        _ => {}
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Plain::Float(f64::INFINITY * f64::from(sign));
    }
    let radix =
        |digits: &str, radix| i128::from_str_radix(digits, radix).map_or(Plain::Text, Plain::Int);
    if let Some(hex) = text.strip_prefix("0x") {
        return if hex.starts_with(['+', '-']) { Plain::Text } else { radix(hex, 16) };
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return if octal.starts_with(['+', '-']) { Plain::Text } else { radix(octal, 8) };
    }
    let first = digits.as_bytes().first();
    if !first.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return Plain::Text;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits.parse::<i128>().map_or(Plain::Text, |n| Plain::Int(n * i128::from(sign)));
    }
    let number =
        digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if number && digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.parse::<f64>().map_or(Plain::Text, Plain::Float);
    }
    Plain::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Plain {
        resolve_plain(text)
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        assert_eq!(plain("12"), Plain::Int(12));
        assert_eq!(plain("-0x1f"), Plain::Text);
        assert_eq!(plain("0x1f"), Plain::Int(31));
        assert_eq!(plain("0o17"), Plain::Int(15));
        assert_eq!(plain("+3"), Plain::Int(3));
        assert_eq!(plain("1e3"), Plain::Float(1000.0));
        assert_eq!(plain(".5"), Plain::Float(0.5));
        assert_eq!(plain("-.inf"), Plain::Float(f64::NEG_INFINITY));
        assert_eq!(plain("1.2.3"), Plain::Text);
        assert_eq!(plain("yes"), Plain::Text);
        assert_eq!(plain("1-2"), Plain::Text);
        assert_eq!(plain("."), Plain::Text);
        assert_eq!(plain("~"), Plain::Null);
    }
}
