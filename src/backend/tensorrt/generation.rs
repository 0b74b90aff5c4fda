//! Which binary interface a library has.

/// A binary interface; the versions of one generation share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// TensorRT 8.6.
    V8_6,
    /// TensorRT 10.
    V10,
    /// TensorRT 11.
    V11,
    /// TensorRT-RTX 1.3 and 1.4.
    Rtx1_4,
    /// TensorRT-RTX from 1.5 on.
    Rtx1,
}
