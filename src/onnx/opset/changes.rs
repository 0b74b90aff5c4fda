//! Which version of the operator set changed what an operator's nodes mean, and what does it.

use crate::onnx::proto::NodeProto;

use super::step::Step;
use super::{adapters, normalize};

/// Changes a node of the version before into nodes of this one, or says why not.
type Adapter = fn(&mut Step<'_>, NodeProto) -> Result<Vec<NodeProto>, String>;

/// What a version of an operator asks of nodes of the version before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Adapt(Adapter),
    /// One node stays one, and it always works.
    Reword(fn(&mut NodeProto)),
    Refuse(&'static str),
}

/// Every change that a node must be changed for, sorted by operator and version. Looked through up
/// to the newest opset that [`crate::onnx::operators::OPSETS`] has.
pub(super) const CHANGES: [(&str, i64, Change); 35] = {
    use Change::{Adapt, Refuse, Reword};
    [
        ("Attention", 24, Refuse("what its fourth output holds has another meaning")),
        ("BatchNormalization", 9, Adapt(normalize::batch_norm_9)),
        ("BatchNormalization", 14, Adapt(normalize::batch_norm_14)),
        ("Clip", 11, Adapt(adapters::clip)),
        ("DFT", 20, Refuse("its axis has another default")),
        ("Dropout", 10, Adapt(adapters::dropout_10)),
        ("Dropout", 12, Adapt(adapters::dropout_12)),
        ("GridSample", 20, Reword(adapters::grid_sample)),
        ("GroupNormalization", 21, Refuse("its scale and bias are per channel, not per group")),
        ("Hardmax", 13, Adapt(normalize::softmax)),
        ("LogSoftmax", 13, Adapt(normalize::softmax)),
        ("Pad", 11, Adapt(adapters::pad)),
        ("ReduceL1", 18, Adapt(adapters::axes)),
        ("ReduceL2", 18, Adapt(adapters::axes)),
        ("ReduceLogSum", 18, Adapt(adapters::axes)),
        ("ReduceLogSumExp", 18, Adapt(adapters::axes)),
        ("ReduceMax", 18, Adapt(adapters::axes)),
        ("ReduceMean", 18, Adapt(adapters::axes)),
        ("ReduceMin", 18, Adapt(adapters::axes)),
        ("ReduceProd", 18, Adapt(adapters::axes)),
        ("ReduceSum", 13, Adapt(adapters::axes)),
        ("ReduceSumSquare", 18, Adapt(adapters::axes)),
        ("Resize", 11, Adapt(adapters::resize)),
        ("RoiAlign", 16, Reword(adapters::roi_align)),
        ("Scan", 9, Refuse("it no longer has a batch axis of its own")),
        ("Scatter", 11, Reword(adapters::scatter)),
        ("Slice", 10, Adapt(adapters::slice)),
        ("Softmax", 13, Adapt(normalize::softmax)),
        ("Split", 13, Adapt(adapters::split_13)),
        ("Split", 18, Adapt(adapters::split_18)),
        ("Squeeze", 13, Adapt(adapters::axes)),
        ("TopK", 10, Adapt(adapters::top_k)),
        ("Unsqueeze", 13, Adapt(adapters::axes)),
        ("Upsample", 9, Adapt(adapters::upsample_9)),
        ("Upsample", 10, Reword(adapters::upsample_10)),
    ]
};

/// The first change of an operator after an opset.
pub(super) fn after(op: &str, opset: i64) -> Option<(i64, Change)> {
    let at = CHANGES.partition_point(|(name, since, _)| (*name, *since) <= (op, opset));
    CHANGES.get(at).filter(|(name, ..)| *name == op).map(|(_, since, change)| (*since, *change))
}
