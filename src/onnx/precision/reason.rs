//! [`Reason`]: why a node computes in the precision that it does.

use std::fmt;

use super::half::Half;

/// Why a node computes in the precision that it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reason {
    /// It is low: nothing speaks against it.
    Low(Half),
    /// It has no float32 value.
    NoFloat,
    /// It changes types itself, from whatever there is.
    Cast,
    /// The user wants it in float32.
    Requested(String),
    /// It has bodies, whose names mean tensors of the type they had.
    Bodies,
    /// It is no operator of the standard.
    Foreign,
    /// The element type of a tensor is not known.
    UnknownType(String),
    /// The operator needs the range or the digits of float32.
    Range(&'static str),
    /// The standard has no such operator in 16 bits.
    NoSuchType(Half),
    /// It gives what stands in the model as float32.
    Given,
    /// A weight is beyond the range.
    WeightOverflow { tensor: String, value: f32, half: Half },
    /// Much of a weight is below the range.
    WeightUnderflow { tensor: String, share: f64, half: Half },
    /// A scale becomes zero.
    ZeroScale { tensor: String, value: f32, half: Half },
    /// A value observed is beyond the range, or close to its end.
    ActivationOverflow { tensor: String, value: f64, half: Half },
    /// All values observed are below the range.
    ActivationUnderflow { tensor: String, value: f64, half: Half },
    /// It gets values from a node that is kept for their size.
    Large { tensor: String },
    /// It relates a tensor to a statistic of the same tensor.
    Statistic,
    /// It computes an angle from positions.
    Angle,
    /// It becomes one operation of 8 bits with another node, which keeps float32.
    Quantized { with: String },
    /// All around it is float32.
    Surrounded,
}

impl Reason {
    /// A stable word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Low(_) => "default",
            Self::NoFloat => "no_float32",
            Self::Cast => "cast",
            Self::Requested(_) => "keep_fp32",
            Self::Bodies => "subgraph",
            Self::Foreign => "not_standard",
            Self::UnknownType(_) => "unknown_type",
            Self::Range(_) => "operator",
            Self::NoSuchType(_) => "no_such_type",
            Self::Given => "given",
            Self::WeightOverflow { .. } => "weight_overflow",
            Self::WeightUnderflow { .. } => "weight_underflow",
            Self::ZeroScale { .. } => "zero_scale",
            Self::ActivationOverflow { .. } => "activation_overflow",
            Self::ActivationUnderflow { .. } => "activation_underflow",
            Self::Large { .. } => "large_values",
            Self::Statistic => "statistic",
            Self::Angle => "angle",
            Self::Quantized { .. } => "quantized",
            Self::Surrounded => "surrounded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Low(half) => write!(f, "nothing speaks against {}", half.name()),
            Self::NoFloat => f.write_str("has no float32 value"),
            Self::Cast => f.write_str("changes types itself"),
            Self::Requested(pattern) => write!(f, "`keep_fp32` says `{pattern}`"),
            Self::Bodies => f.write_str("has subgraphs, which stay as they are"),
            Self::Foreign => f.write_str("is no operator of the standard"),
            Self::UnknownType(tensor) => write!(f, "the type of `{tensor}` is not known"),
            Self::Range(why) => write!(f, "needs float32: {why}"),
            Self::NoSuchType(half) => {
                write!(f, "has no form in {} in this opset", half.name())
            }
            Self::Given => f.write_str("its values stand in the model as float32"),
            Self::WeightOverflow { tensor, value, half } => write!(
                f,
                "weight `{tensor}` has {value:e}; {} ends at {:e}",
                half.name(),
                half.largest()
            ),
            Self::WeightUnderflow { tensor, share, half } => write!(
                f,
                "{:.0} % of weight `{tensor}` is below {:.2e}, where {} loses digits",
                share * 100.0,
                half.smallest_normal(),
                half.name()
            ),
            Self::ZeroScale { tensor, value, half } => {
                write!(f, "scale `{tensor}` has {value:e}, which is zero in {}", half.name())
            }
            Self::ActivationOverflow { tensor, value, half } => write!(
                f,
                "`{tensor}` reached {value:e}; {} ends at {:e}",
                half.name(),
                half.largest()
            ),
            Self::ActivationUnderflow { tensor, value, half } => write!(
                f,
                "`{tensor}` stayed within {value:e}; below {:.2e} {} loses digits",
                half.smallest_normal(),
                half.name()
            ),
            Self::Large { tensor } => write!(f, "gets very large values from `{tensor}`"),
            Self::Statistic => {
                f.write_str("relates a tensor to its own mean, maximum or deviation")
            }
            Self::Angle => f.write_str("computes an angle from positions"),
            Self::Quantized { with } => {
                write!(f, "becomes one operation of 8 bits with `{with}`, which keeps float32")
            }
            Self::Surrounded => f.write_str("all around it is float32"),
        }
    }
}
