//! Parameters of requests and tensors, and the time a call has.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::metadata::MetadataMap;

use crate::kserve::InferParameter;
use crate::kserve::infer_parameter::ParameterChoice;
use crate::server::SharedMemory;
use crate::server::protocol::{Parameters, ProtocolError, clipped};
use crate::server::shared_memory::RegionPart;

type Map = BTreeMap<String, InferParameter>;

/// The parameters of a request that mean something to this server.
pub(super) fn of_request(map: &Map) -> Result<Parameters, ProtocolError> {
    let sequence = match value(map, "sequence_id") {
        None | Some(ParameterChoice::Int64Param(0) | ParameterChoice::Uint64Param(0)) => false,
        Some(ParameterChoice::StringParam(id)) => !id.is_empty(),
        Some(_) => true,
    };
    Ok(Parameters {
        priority: number(map, "priority")?.unwrap_or(0),
        timeout: number(map, "timeout")?.unwrap_or(0),
        sequence: sequence || flag(map, "sequence_start")? || flag(map, "sequence_end")?,
    })
}

/// The part of a shared memory region where a tensor is, if it is in one.
pub(super) fn region(
    map: &Map,
    regions: Option<&SharedMemory>,
) -> Result<Option<RegionPart>, ProtocolError> {
    let name = match value(map, "shared_memory_region") {
        None => return Ok(None),
        Some(ParameterChoice::StringParam(name)) => name,
        Some(_) => return Err(wrong("shared_memory_region", "a `string_param`")),
    };
    let offset = number(map, "shared_memory_offset")?.unwrap_or(0);
    let size = number(map, "shared_memory_byte_size")?.unwrap_or(0);
    let regions = regions.ok_or_else(|| ProtocolError::unsupported("there is no shared memory"))?;
    Ok(Some(regions.part(name, offset, size)?))
}

/// Refuses what an output cannot be.
pub(super) fn of_output(map: &Map) -> Result<(), ProtocolError> {
    if number(map, "classification")?.is_some_and(|count| count > 0) {
        return Err(ProtocolError::unsupported(
            "this server does not classify: leave `classification` out and sort the output",
        ));
    }
    Ok(())
}

fn value<'m>(map: &'m Map, name: &str) -> Option<&'m ParameterChoice> {
    map.get(name)?.parameter_choice.as_ref()
}

fn number(map: &Map, name: &str) -> Result<Option<u64>, ProtocolError> {
    match value(map, name) {
        None => Ok(None),
        Some(ParameterChoice::Uint64Param(number)) => Ok(Some(*number)),
        Some(ParameterChoice::Int64Param(number)) => match u64::try_from(*number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong(name, &format!("0 or more, not {number}"))),
        },
        Some(_) => Err(wrong(name, "an `int64_param` or a `uint64_param`")),
    }
}

fn flag(map: &Map, name: &str) -> Result<bool, ProtocolError> {
    match value(map, name) {
        None => Ok(false),
        Some(ParameterChoice::BoolParam(flag)) => Ok(*flag),
        Some(_) => Err(wrong(name, "a `bool_param`")),
    }
}

fn wrong(name: &str, expected: &str) -> ProtocolError {
    ProtocolError::syntax(format!("parameter `{name}` must be {expected}"))
}

/// How long a caller waits for its answer, where it says so.
pub(super) fn time_left(metadata: &MetadataMap) -> Result<Option<Duration>, ProtocolError> {
    let Some(value) = metadata.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(timeout);
    timeout.map(Some).ok_or_else(|| {
        ProtocolError::syntax(format!(
            "its header `grpc-timeout` is `{}`; it is a number of up to 8 digits and one of the \
             units H, M, S, m, u, n",
            clipped(&String::from_utf8_lossy(value.as_bytes()))
        ))
    })
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(of: &[(&str, ParameterChoice)]) -> Map {
        let parameter =
            |choice: &ParameterChoice| InferParameter { parameter_choice: Some(choice.clone()) };
        of.iter().map(|(name, choice)| ((*name).to_owned(), parameter(choice))).collect()
    }

    fn text(value: &str) -> ParameterChoice {
        ParameterChoice::StringParam(value.to_owned())
    }

    #[test]
    fn numbers_come_signed_or_not() {
        let signed = ParameterChoice::Int64Param(3);
        let unsigned = ParameterChoice::Uint64Param(5_000_000);
        let map = parameters(&[("priority", signed), ("timeout", unsigned), ("own", text("x"))]);
        let read = of_request(&map).unwrap();
        assert_eq!((read.priority, read.timeout, read.sequence), (3, 5_000_000, false));
        for wrong in [text("3"), ParameterChoice::Int64Param(-1), ParameterChoice::DoubleParam(3.)]
        {
            let error = of_request(&parameters(&[("priority", wrong)])).unwrap_err().to_string();
            assert!(error.contains("parameter `priority` must be"), "{error}");
        }
    }

    #[test]
    fn a_request_of_a_sequence_is_told_by_its_parameters() {
        let is = |name, choice| of_request(&parameters(&[(name, choice)])).unwrap().sequence;
        assert!(!is("sequence_id", ParameterChoice::Int64Param(0)));
        assert!(!is("sequence_id", text("")));
        assert!(is("sequence_id", ParameterChoice::Uint64Param(1)));
        assert!(is("sequence_id", text("a")));
        assert!(!is("sequence_start", ParameterChoice::BoolParam(false)));
        assert!(is("sequence_end", ParameterChoice::BoolParam(true)));
        let number = parameters(&[("sequence_start", ParameterChoice::Int64Param(1))]);
        assert!(of_request(&number).is_err());
    }

    #[test]
    fn a_tensor_is_in_shared_memory_where_a_region_is_named() {
        let size = ("shared_memory_byte_size", ParameterChoice::Int64Param(64));
        assert!(region(&parameters(&[]), None).unwrap().is_none());
        assert!(region(&parameters(std::slice::from_ref(&size)), None).unwrap().is_none());
        let named = |name| parameters(&[("shared_memory_region", name), size.clone()]);
        let error = region(&named(text("r")), None).unwrap_err().to_string();
        assert_eq!(error, "there is no shared memory");
        let error = region(&named(ParameterChoice::Int64Param(1)), None).unwrap_err().to_string();
        assert!(error.contains("`shared_memory_region` must be a `string_param`"), "{error}");
    }

    #[test]
    fn the_time_a_caller_waits_has_a_unit() {
        assert_eq!(timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(timeout("1S"), Some(Duration::from_secs(1)));
        assert_eq!(timeout("2M"), Some(Duration::from_mins(2)));
        assert_eq!(timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout("7n"), Some(Duration::from_nanos(7)));
        for wrong in
            ["", "m", "1", "100", "123456789m", "-1S", "+1S", "1 S", "1.5S", "1s", "é", "1é"]
        {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }
}
