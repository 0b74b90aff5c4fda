//! Which element types each version of an operator takes, gives, and wants equal. The table is
//! generated.

use crate::onnx::proto::tensor_proto::DataType;

use super::type_table::TYPINGS;

/// The element types of one version of one operator.
#[derive(Debug, Clone, Copy)]
pub struct Typing {
    name: &'static str,
    since: i64,
    /// The type variable of each input, as a letter; `*` is a type of its own. The last one is
    /// that of all further inputs.
    inputs: &'static [u8],
    outputs: &'static [u8],
    /// What each type variable may be.
    variables: &'static [u32],
}

/// A type variable of an operator: inputs and outputs that have the same one are of equal type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable(usize);

impl Variable {
    /// Its position among the variables of its operator.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A set of element types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeSet(u32);

/// What is no dense tensor: sequences, maps, optional values.
const OTHER: u32 = 1;

impl TypeSet {
    /// Whether the type is one of the set.
    pub fn contains(self, dtype: DataType) -> bool {
        u32::try_from(dtype as i32).is_ok_and(|bit| bit > 0 && self.0 >> bit & 1 == 1)
    }

    /// The only type of the set.
    pub fn only(self) -> Option<DataType> {
        let bit = i32::try_from(self.0.trailing_zeros()).ok()?;
        (self.0.is_power_of_two() && self.0 != OTHER).then(|| DataType::try_from(bit).ok())?
    }

    /// Every type of the set.
    pub fn iter(self) -> impl Iterator<Item = DataType> {
        (1..32_i32)
            .filter_map(|bit| DataType::try_from(bit).ok())
            .filter(move |dtype| self.contains(*dtype))
    }
}

impl Typing {
    /// How many type variables there are.
    pub fn variables(&self) -> usize {
        self.variables.len()
    }

    /// How many inputs differ; any more are like the last.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The variable of an input; `None` where it has a type of its own, or there is no such input.
    pub fn input(&self, index: usize) -> Option<Variable> {
        variable(self.inputs, index)
    }

    /// The variable of an output.
    pub fn output(&self, index: usize) -> Option<Variable> {
        variable(self.outputs, index)
    }

    /// What a variable may be.
    pub fn allowed(&self, variable: Variable) -> TypeSet {
        TypeSet(self.variables.get(variable.0).copied().unwrap_or_default())
    }
}

fn variable(slots: &[u8], index: usize) -> Option<Variable> {
    let letter = slots.get(index).or(slots.last())?;
    letter.checked_sub(b'A').map(|position| Variable(usize::from(position)))
}

/// The element types of an operator as a model of `opset` means it.
pub fn typing_of(op: &str, opset: i64) -> Option<&'static Typing> {
    let end = TYPINGS.partition_point(|candidate| (candidate.name, candidate.since) <= (op, opset));
    TYPINGS[..end].last().filter(|found| found.name == op)
}

/// The element types of an operator in the opsets after this one that changed it, with those.
pub fn later_typings(op: &str, opset: i64) -> impl Iterator<Item = (i64, &'static Typing)> {
    let start =
        TYPINGS.partition_point(|candidate| (candidate.name, candidate.since) <= (op, opset));
    let of_op = TYPINGS[start..].iter().take_while(move |found| found.name == op);
    of_op.map(|found| (found.since, found))
}

pub(super) const fn typing(
    name: &'static str,
    since: i64,
    inputs: &'static [u8],
    outputs: &'static [u8],
    variables: &'static [u32],
) -> Typing {
    Typing { name, since, inputs, outputs, variables }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_operator_has_its_types() {
        let keys = TYPINGS.iter().map(|typing| (typing.name, typing.since));
        assert!(keys.eq(table::OPERATORS.iter().map(|operator| (operator.name, operator.since))));
        for typing in &TYPINGS {
            let letters = typing.inputs.iter().chain(typing.outputs).filter(|slot| **slot != b'*');
            for letter in letters {
                assert!(usize::from(letter - b'A') < typing.variables(), "{typing:?}");
            }
        }
    }

    #[test]
    fn the_types_are_the_standards() {
        let resize = typing_of("Resize", 17).unwrap();
        assert_eq!(resize.input(0), resize.output(0));
        assert_eq!(resize.allowed(resize.input(2).unwrap()).only(), Some(DataType::Float));
        let image = resize.allowed(resize.input(0).unwrap());
        assert!(image.contains(DataType::Bfloat16) && image.only().is_none());
        let concat = typing_of("Concat", 13).unwrap();
        assert_eq!(concat.input(7), concat.output(0));
        let body = typing_of("Loop", 13).unwrap();
        assert_eq!((body.input(2), body.input(9), body.output(3)), (None, None, None));
        let old = typing_of("Add", 12).unwrap();
        assert!(!old.allowed(old.input(0).unwrap()).contains(DataType::Bfloat16));
        assert!(typing_of("NoSuchOperator", 17).is_none());
        assert!(later_typings("Add", 12).map(|(since, _)| since).eq([13, 14]));
        assert_eq!(later_typings("Add", 14).count(), 0);
    }

    #[test]
    fn a_set_knows_its_only_type() {
        assert_eq!(TypeSet(1 << 7).only(), Some(DataType::Int64));
        assert_eq!(TypeSet(OTHER).only(), None);
        assert_eq!(TypeSet(0).only(), None);
        assert!(!TypeSet(u32::MAX).contains(DataType::Undefined));
        assert!(TypeSet(0b1010).iter().eq([DataType::Float, DataType::Int8]));
    }
}
