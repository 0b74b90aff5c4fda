//! The ONNX parser: an ONNX file becomes a [`Network`].

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use libloading::os::unix::Library as Loaded;

use super::super::error::{ParserError, TrtError};
use super::super::sys::{IParser, IParserError};
use super::builder::Builder;
use super::callback::text;
use super::library::Library;
use super::logger::logger;
use super::network::Network;
use super::owned::Owned;

/// `void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version)`.
type Create = unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void;

/// A network that was read from an ONNX file, with the parser, whose memory holds its weights.
#[derive(Debug)]
pub(in super::super) struct Parsed {
    _parser: Owned<IParser>,
    network: Network,
    _library: Arc<Loaded>,
}

impl Parsed {
    pub(in super::super) fn network(&self) -> &Network {
        &self.network
    }
}

/// Reads an ONNX file; external data is found beside it.
pub(in super::super) fn parse(
    builder: &Arc<Builder>,
    parser_library: &Path,
    model: &Path,
    strongly_typed: bool,
) -> Result<Parsed, TrtError> {
    let library = builder.library();
    let loaded = library.parser(parser_library)?;
    let network = builder.network(strongly_typed)?;
    let parser = create(library, &loaded, &network)?;
    let failed = |call| TrtError::Failed { call, reported: Vec::new() };
    let path = CString::new(model.as_os_str().as_bytes()).map_err(|_| failed("parseFromFile"))?;
    // Its own messages come through the logger at the logger's own level.
    let verbosity = 0;
    // SAFETY: the parser is alive; the path is a C string.
    let understood = unsafe { parser.get().parse_from_file(&path, verbosity) };
    let errors = errors(parser.get());
    if understood && errors.is_empty() {
        return Ok(Parsed { _parser: parser, network, _library: loaded });
    }
    let reported = builder.recorder().take();
    if errors.is_empty() {
        return Err(TrtError::Failed { call: "parseFromFile", reported });
    }
    Err(TrtError::Parse(errors))
}

fn create(
    library: &Library,
    loaded: &Loaded,
    network: &Network,
) -> Result<Owned<IParser>, TrtError> {
    const CREATE: &str = "createNvOnnxParser_INTERNAL";
    let failed = |_| TrtError::Failed { call: CREATE, reported: Vec::new() };
    let version = version(loaded)?;
    // SAFETY: the parser's function of this name has this type.
    let create = unsafe { loaded.get::<Create>(CREATE.as_bytes()) }.map_err(failed)?;
    let logger = logger(library.abi())?;
    // SAFETY: the network is alive and outlives the parser; the logger lives with the process.
    let raw = unsafe { create(network.object().as_ptr(), logger, version) };
    // SAFETY: the function gives null or a parser that the caller owns.
    let parser = unsafe { IParser::from_raw(raw, library.abi()) };
    let parser = network.builder().recorder().check(CREATE, parser)?;
    // SAFETY: as above; `Parsed` drops it before its network.
    Ok(unsafe { Owned::new(parser) })
}

/// The parser's version, which it wants to hear from its callers.
pub(super) fn version(loaded: &Loaded) -> Result<i32, TrtError> {
    const VERSION: &str = "getNvOnnxParserVersion";
    let failed = |_| TrtError::Failed { call: VERSION, reported: Vec::new() };
    // SAFETY: the parser's function of this name has this type.
    let version = unsafe { loaded.get::<unsafe extern "C" fn() -> i32>(VERSION.as_bytes()) };
    let version = version.map_err(failed)?;
    // SAFETY: it only returns a number.
    Ok(unsafe { version() })
}

/// All that the parser has against the model.
fn errors(parser: IParser) -> Vec<ParserError> {
    // SAFETY: the parser is alive.
    let count = unsafe { parser.get_nb_errors() };
    // SAFETY: as above; the numbers are those of its errors.
    (0..count).filter_map(|at| unsafe { parser.get_error(at) }).map(error).collect()
}

pub(super) fn error(error: IParserError) -> ParserError {
    // SAFETY: errors live as long as the parser, which the caller holds.
    let description = unsafe { error.desc() };
    // SAFETY: as above; the text is a C string.
    let description = unsafe { text(description) };
    // SAFETY: as above.
    let function = unsafe { error.func() };
    // SAFETY: as above; the text is a C string.
    let function = unsafe { text(function) };
    // Where a check of the parser has no words, its description is the C++ expression.
    let message = match description.as_str() {
        "" | "false" => format!("the parser's `{function}` does not accept it"),
        _ => description,
    };
    // SAFETY: as above.
    let node = usize::try_from(unsafe { error.node() }).ok();
    // SAFETY: as above.
    let name = unsafe { error.node_name() }.ok();
    // SAFETY: as above; the text is a C string.
    let name = name.map(|name| unsafe { text(name) }).filter(|name| !name.is_empty());
    // SAFETY: as above.
    let operator = unsafe { error.node_operator() }.ok();
    // SAFETY: as above.
    let operator = operator.map(|op| unsafe { text(op) }).filter(|op| !op.is_empty());
    ParserError { message, node, name, operator }
}
