//! [`refit_from_onnx`]: weights for an engine that was built to take them.

use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libloading::os::unix::Library as Loaded;

use super::super::error::{ParserError, TrtError};
use super::super::generation::Generation;
use super::super::sys::{IParserRefitter, IRefitter, Missing};
use super::callback::text;
use super::engine::EngineHandle;
use super::library::Library;
use super::logger::logger;
use super::owned::Owned;
use super::parser;
use super::recorder::Recorder;

/// Gives an engine other weights, all of which must be there when [`Self::refit`] is called.
///
/// Nobody else uses the engine meanwhile: contexts hold it by reference.
#[derive(Debug)]
struct Refitter<'a> {
    object: Owned<IRefitter>,
    recorder: Recorder,
    engine: &'a mut EngineHandle,
}

impl<'a> Refitter<'a> {
    fn new(library: &'static Library, engine: &'a mut EngineHandle) -> Result<Self, TrtError> {
        const CREATE: &str = "createInferRefitter_INTERNAL";
        engine.runtime().start()?;
        let recorder = Recorder::new(library.abi())?;
        // SAFETY: the engine is alive.
        let raw = unsafe { library.create_for(CREATE, engine.object().as_ptr()) }?;
        // SAFETY: the function gives null or a refitter that the caller owns.
        let object = unsafe { IRefitter::from_raw(raw, library.abi()) };
        let object = recorder.check(CREATE, object)?;
        // SAFETY: as above; the engine is borrowed for longer.
        let object = unsafe { Owned::new(object) };
        // SAFETY: the recorder outlives the refitter: it is dropped after it.
        unsafe { object.get().set_error_recorder(recorder.as_ptr()) };
        Ok(Self { object, recorder, engine })
    }

    /// The weights that can be exchanged, by name.
    fn weights(&self) -> Vec<String> {
        // SAFETY: the refitter is alive; it writes as many addresses as there is room for.
        names(|room, list| unsafe { self.object.get().get_all_weights(room, list) })
    }

    /// The weights that must still be given, by name.
    fn missing(&self) -> Vec<String> {
        // SAFETY: as above.
        names(|room, list| unsafe { self.object.get().get_missing_weights(room, list) })
    }

    /// Takes the weights of an ONNX file, which is the model that the engine was built from but
    /// for them. External data is found beside it.
    fn set_from_onnx(
        &self,
        library: &Library,
        parser: &Loaded,
        model: &Path,
    ) -> Result<OnnxWeights, TrtError> {
        const CREATE: &str = "createNvOnnxParserRefitter_INTERNAL";
        const REFIT: &str = "refitFromFile";
        /// `void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *logger, int version)`.
        type Create = unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void;
        let failed = |call| TrtError::Failed { call, reported: Vec::new() };
        let version = parser::version(parser)?;
        // SAFETY: the parser's function of this name has this type.
        let create = unsafe { parser.get::<Create>(CREATE.as_bytes()) };
        let create = create.map_err(|_| failed(CREATE))?;
        let logger = logger(library.abi())?;
        // SAFETY: the refitter is alive; the logger lives with the process.
        let raw = unsafe { create(self.object.get().as_ptr(), logger, version) };
        // SAFETY: the function gives null or an object that the caller owns.
        let object = unsafe { IParserRefitter::from_raw(raw, library.abi()) };
        let object = self.recorder.check(CREATE, object)?;
        // SAFETY: as above; the refitter is borrowed for longer.
        let weights = OnnxWeights(unsafe { Owned::new(object) });
        let path = CString::new(model.as_os_str().as_bytes()).map_err(|_| failed(REFIT))?;
        // SAFETY: the object is alive; the path is a C string.
        if unsafe { object.refit_from_file(&path) }? {
            return Ok(weights);
        }
        match weights.errors() {
            errors if errors.is_empty() => Err(self.recorder.failed(REFIT)),
            errors => Err(TrtError::Parse(errors)),
        }
    }

    /// Exchanges the weights.
    fn refit(&mut self) -> Result<(), TrtError> {
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(TrtError::MissingWeights { missing, of: self.weights().len() });
        }
        let runtime = self.engine.runtime();
        runtime.start()?;
        // SAFETY: the refitter is alive, and so are the weights that it was given.
        if unsafe { self.object.get().refit_cuda_engine() } {
            return Ok(());
        }
        Err(runtime.failed("refitCudaEngine", &self.recorder))
    }
}

/// What reads an ONNX file for a refitter; the weights are in its memory.
#[derive(Debug)]
struct OnnxWeights(Owned<IParserRefitter>);

impl OnnxWeights {
    fn errors(&self) -> Vec<ParserError> {
        // SAFETY: the object is alive.
        let count = unsafe { self.0.get().get_nb_errors() }.unwrap_or(0);
        // SAFETY: as above; the numbers are those of its errors.
        let errors = (0..count).map(|at| unsafe { self.0.get().get_error(at) });
        errors.filter_map(|error| error.ok().flatten()).map(parser::error).collect()
    }
}

/// Gives an engine the weights of an ONNX file: the way to run one that was built without them.
/// TensorRT 8.6 cannot, and builds none without.
pub(in super::super) fn refit_from_onnx(
    library: &'static Library,
    engine: &mut EngineHandle,
    parser_library: &Path,
    model: &Path,
) -> Result<(), TrtError> {
    if library.abi().generation == Generation::V8_6 {
        let missing = Missing { class: "IParserRefitter", method: "refitFromFile", since: "" };
        return Err(missing.into());
    }
    let parser = library.parser(parser_library)?;
    let mut refitter = Refitter::new(library, engine)?;
    // There until the refitter has read them, and gone before it.
    let _weights = refitter.set_from_onnx(library, &parser, model)?;
    refitter.refit()
}

/// The names of a list that is written to an array, after its length was asked for.
fn names(list: impl Fn(i32, *mut c_void) -> i32) -> Vec<String> {
    let count = list(0, std::ptr::null_mut());
    let mut names = vec![std::ptr::null::<c_char>(); usize::try_from(count).unwrap_or(0)];
    list(count, names.as_mut_ptr().cast());
    // SAFETY: TensorRT writes C strings, which are its own; the rest stays null.
    names.into_iter().map(|name| unsafe { text(name) }).collect()
}

#[cfg(test)]
mod tests {
    use crate::backend::cuda::standin::with_driver;
    use crate::backend::cuda::{Context, Ledger};
    use crate::backend::tensorrt::Flavor;
    use crate::backend::tensorrt::handle::Runtime;
    use crate::backend::tensorrt::handle::standin::{MODEL, StandIn};
    use crate::backend::tensorrt::sys::BuilderFlag;
    use crate::onnx::{self, Model};

    use super::*;

    /// An engine of [`MODEL`], built with these flags.
    fn engine(standin: &StandIn, flags: &[BuilderFlag]) -> EngineHandle {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let (builder, parsed, config) = standin.ready(Path::new(MODEL), flags);
        let plan = builder.build(parsed.network(), &config).unwrap();
        let runtime = Runtime::new(standin.library, &context, &ledger).unwrap();
        runtime.deserialize(plan.bytes()).unwrap()
    }

    /// TensorRT-RTX is not for the stand-in's usual GPU.
    const RTX_GPU: (&str, &str) = ("STANDIN_CUDA_CAPABILITY", "8.9");
    const STRIPPED: [BuilderFlag; 2] = [BuilderFlag::Refit, BuilderFlag::StripPlan];

    /// An engine without weights gets those of its model.
    fn refits(flavor: Flavor, version: &str) {
        let standin = StandIn::new(flavor, version);
        let mut engine = engine(&standin, &STRIPPED);
        let refitter = Refitter::new(standin.library, &mut engine).unwrap();
        let (all, missing) = (refitter.weights(), refitter.missing());
        assert!(!all.is_empty() && all == missing, "{all:?}");
        drop(refitter);
        refit_from_onnx(standin.library, &mut engine, &standin.parser, Path::new(MODEL)).unwrap();
        let refitter = Refitter::new(standin.library, &mut engine).unwrap();
        assert_eq!((refitter.weights(), refitter.missing()), (all, Vec::new()));
    }

    #[test]
    fn tensorrt_10_refits_from_the_model() {
        with_driver(&[], || refits(Flavor::Standard, "10.0.0.6"));
    }

    #[test]
    fn tensorrt_11_refits_from_the_model() {
        with_driver(&[], || refits(Flavor::Standard, "11.4.0.1"));
    }

    #[test]
    fn tensorrt_rtx_1_4_refits_from_the_model() {
        with_driver(&[RTX_GPU], || refits(Flavor::Rtx, "1.4.0.1"));
    }

    #[test]
    fn tensorrt_rtx_1_7_refits_from_the_model() {
        with_driver(&[RTX_GPU], || refits(Flavor::Rtx, "1.7.1.1"));
    }

    #[test]
    fn tensorrt_8_6_says_that_it_cannot() {
        with_driver(&[], || {
            let standin = StandIn::new(Flavor::Standard, "8.6.0.12");
            let mut engine = engine(&standin, &[BuilderFlag::Refit]);
            let model = Path::new(MODEL);
            let error = refit_from_onnx(standin.library, &mut engine, &standin.parser, model);
            insta::assert_snapshot!(
                error.unwrap_err(),
                @"this TensorRT has no IParserRefitter::refitFromFile"
            );
        });
    }

    #[test]
    fn what_does_not_fit_the_engine_is_refused_with_the_reason() {
        with_driver(&[], || {
            let standin = StandIn::new(Flavor::Standard, "10.13.0.1");
            let refusal = |engine: &mut EngineHandle, model: &Path| {
                let parser = &standin.parser;
                refit_from_onnx(standin.library, engine, parser, model).unwrap_err().to_string()
            };
            let mut fixed = engine(&standin, &[]);
            let text = refusal(&mut fixed, Path::new(MODEL));
            assert!(text.contains("createInferRefitter_INTERNAL failed"), "{text}");

            let mut stripped = engine(&standin, &STRIPPED);
            let text = refusal(&mut stripped, Path::new("nowhere.onnx"));
            assert!(text.contains("nowhere.onnx"), "{text}");

            let folder = tempfile::tempdir().unwrap();
            let mut model = Model::load(Path::new(MODEL)).unwrap();
            let dropped = model.graph.initializer.pop().unwrap();
            let of = model.graph.initializer.len() + 1;
            model.save(folder.path()).unwrap();
            let text = refusal(&mut stripped, &onnx::locate(folder.path()).unwrap());
            let name = dropped.name();
            let expected =
                format!("the model has not all {of} weights of the engine: it lacks `{name}`");
            assert_eq!(text, expected);

            let mut stripped = engine(&standin, &STRIPPED);
            let mut stranger = dropped;
            stranger.name = Some("stranger".to_owned());
            model.graph.initializer.push(stranger);
            model.save(folder.path()).unwrap();
            let text = refusal(&mut stripped, &onnx::locate(folder.path()).unwrap());
            assert!(text.contains("stranger"), "{text}");
        });
    }

    #[test]
    fn a_refit_that_fails_is_an_error_and_leaves_nothing_behind() {
        let fail = ("STANDIN_TENSORRT_FAIL", "IRefitter::refitCudaEngine=oom");
        with_driver(&[fail], || {
            let standin = StandIn::new(Flavor::Standard, "10.13.0.1");
            let mut engine = engine(&standin, &STRIPPED);
            let model = Path::new(MODEL);
            let error = refit_from_onnx(standin.library, &mut engine, &standin.parser, model);
            let text = error.unwrap_err().to_string();
            assert!(
                text.contains("refitCudaEngine failed: ") && text.contains("OutOfMemory"),
                "{text}"
            );
        });
    }
}
