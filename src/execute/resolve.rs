//! From a planned stage to its cache key: root inputs, upstream artifacts, tools, fingerprint.
//!
//! Knows the store and the plan; does not know threads or what any stage does.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::artifact::{
    Artifact, ArtifactKind, Digest, FileEntry, Fingerprint, Hasher, InputStamp, Store, StoreError,
    canonical_json, tree_digest,
};
use crate::plan::{InputSource, Plan, PlannedInput, StageIndex};
use crate::process::CancelToken;
use crate::stage::{Accepts, ResolvedInput, StageError, ToolProbe};

/// A stage's key and what it stands on.
#[derive(Debug, Clone)]
pub struct ResolvedStage {
    /// Everything that may change the result.
    pub fingerprint: Fingerprint,
    /// The fingerprint's digest.
    pub key: Digest,
    /// The inputs by role.
    pub inputs: BTreeMap<String, ResolvedInput>,
}

/// A root input: its content, and its files as they were when it was read.
#[derive(Debug)]
struct RootInput {
    digest: Digest,
    stamps: Vec<InputStamp>,
    /// Files that belong to it and are not there.
    missing: Vec<PathBuf>,
}

/// A root file or folder that a stage reads, as it was found.
#[derive(Debug, Clone, Copy)]
pub struct RootFile<'a> {
    /// The stage.
    pub stage: StageIndex,
    /// The file or folder.
    pub path: &'a Path,
    /// Its content, or why it cannot be read; `None` where it is missing beside its model.
    pub content: Option<Result<&'a InputStamp, &'a StoreError>>,
}

/// A root input, or why it could not be read.
type ReadRoot = Result<RootInput, Arc<StoreError>>;

/// Resolves the stages of one plan against one store.
pub struct Resolver<'a> {
    plan: &'a Plan,
    store: &'a Store,
    spec_dir: PathBuf,
    /// By stage and input; `None` where the input is not a root file.
    roots: Vec<Vec<Option<ReadRoot>>>,
}

/// Answers what stages ask about tools, through the stat database.
pub(super) struct Probe<'a> {
    store: &'a Store,
    spec_dir: &'a Path,
    cancel: &'a CancelToken,
    /// Answers given before, where they may be given again.
    memory: Option<RefCell<Memory>>,
}

#[derive(Default)]
struct Memory {
    digests: HashMap<PathBuf, Digest>,
    programs: HashMap<String, PathBuf>,
}

impl Probe<'_> {
    fn file_digest(&self, path: &Path) -> std::io::Result<Digest> {
        if let Some(memory) = &self.memory
            && let Some(known) = memory.borrow().digests.get(path)
        {
            return Ok(*known);
        }
        let stamp = self.store.hash_file(path).map_err(std::io::Error::other)?;
        if let Some(memory) = &self.memory {
            memory.borrow_mut().digests.insert(path.to_owned(), stamp.digest);
        }
        Ok(stamp.digest)
    }

    fn program(&self, name: &str, search: &dyn Fn() -> Option<PathBuf>) -> Option<PathBuf> {
        let Some(memory) = &self.memory else { return search() };
        if let Some(known) = memory.borrow().programs.get(name) {
            return Some(known.clone());
        }
        let found = search()?;
        memory.borrow_mut().programs.insert(name.to_owned(), found.clone());
        Some(found)
    }
}

/// What a stage may ask once its inputs are found.
struct StageProbe<'a> {
    probe: &'a Probe<'a>,
    inputs: &'a BTreeMap<String, ResolvedInput>,
}

impl ToolProbe for StageProbe<'_> {
    fn input(&self, role: &str) -> Option<&ResolvedInput> {
        self.inputs.get(role)
    }

    fn remembered(&self, name: &str, key: &Digest) -> Option<serde_json::Value> {
        self.probe.store.memo_get(name, key)
    }

    fn remember(&self, name: &str, key: &Digest, fact: &serde_json::Value) {
        self.probe.store.memo_put(name, key, fact);
    }

    fn file_digest(&self, path: &Path) -> std::io::Result<Digest> {
        self.probe.file_digest(path)
    }

    fn program(&self, name: &str, search: &dyn Fn() -> Option<PathBuf>) -> Option<PathBuf> {
        self.probe.program(name, search)
    }

    fn spec_dir(&self) -> &Path {
        self.probe.spec_dir
    }

    fn cancel(&self) -> &CancelToken {
        self.probe.cancel
    }
}

impl<'a> Resolver<'a> {
    /// Reads the root inputs of the `wanted` stages, from the stat database where they did not
    /// change.
    pub fn new(plan: &'a Plan, store: &'a Store, wanted: &[bool]) -> Self {
        let folder = plan.spec().folder();
        let spec_dir = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let roots = plan
            .stages()
            .iter()
            .zip(wanted)
            .map(|(stage, wanted)| {
                let inputs = stage.inputs.iter();
                inputs.map(|input| wanted.then(|| read_root(store, input)).flatten()).collect()
            })
            .collect();
        Self { plan, store, spec_dir, roots }
    }

    /// The spec's folder, absolute.
    pub fn spec_dir(&self) -> &Path {
        &self.spec_dir
    }

    /// Every root file and folder of the wanted stages, external data of models included.
    pub fn root_files(&self) -> impl Iterator<Item = RootFile<'_>> {
        let inputs = self.plan.stages().iter().zip(&self.roots).enumerate();
        let inputs = inputs.flat_map(|(stage, (planned, roots))| {
            planned.inputs.iter().zip(roots).map(move |(input, root)| (stage, input, root))
        });
        inputs.flat_map(|(stage, input, root)| {
            let mut files = Vec::new();
            match (root, &input.from) {
                (Some(Ok(root)), _) => {
                    let stamps = root.stamps.iter().map(|stamp| (&*stamp.path, Some(Ok(stamp))));
                    files.extend(stamps.chain(root.missing.iter().map(|path| (&**path, None))));
                }
                (Some(Err(error)), InputSource::File { path, .. }) => {
                    files.push((path, Some(Err(&**error))));
                }
                _ => {}
            }
            files.into_iter().map(move |(path, content)| RootFile { stage, path, content })
        })
    }

    /// Looks at the tools as they are now.
    pub(super) fn probe<'p>(&'p self, cancel: &'p CancelToken) -> Probe<'p> {
        Probe { store: self.store, spec_dir: &self.spec_dir, cancel, memory: None }
    }

    /// Looks at each tool once.
    pub(super) fn remembering_probe<'p>(&'p self, cancel: &'p CancelToken) -> Probe<'p> {
        Probe { memory: Some(RefCell::default()), ..self.probe(cancel) }
    }

    /// What the stage's result depends on, apart from tools: the same digest on every machine.
    pub fn requests(&self) -> Vec<Option<Digest>> {
        let mut requests: Vec<Option<Digest>> = vec![None; self.plan.stages().len()];
        for &at in self.plan.order() {
            requests[at] = self.request(at, &requests);
        }
        requests
    }

    fn request(&self, at: StageIndex, requests: &[Option<Digest>]) -> Option<Digest> {
        let planned = &self.plan.stages()[at];
        let mut hasher = Hasher::new("request");
        hasher.field(planned.stage.kind().as_bytes());
        hasher.field(&planned.stage.version().to_le_bytes());
        let settings = planned.stage.settings();
        hasher.field(&canonical_json(&settings, &settings));
        for (input, root) in planned.inputs.iter().zip(&self.roots[at]) {
            hasher.field(input.role.as_bytes());
            match &input.from {
                InputSource::File { .. } => {
                    hasher.field(root.as_ref()?.as_ref().ok()?.digest.as_bytes());
                }
                InputSource::Stage(stage) => hasher.field(requests[*stage]?.as_bytes()),
                InputSource::StageFile { stage, path, .. } => {
                    hasher.field(requests[*stage]?.as_bytes());
                    hasher.field(path.as_bytes());
                }
            }
        }
        Some(hasher.finish())
    }

    /// Resolves one stage; `artifacts` has what the stages before it made.
    pub(super) fn resolve(
        &self,
        at: StageIndex,
        artifacts: &dyn Fn(StageIndex) -> Option<Artifact>,
        requests: &[Option<Digest>],
        probe: &Probe<'_>,
    ) -> Result<ResolvedStage, StageError> {
        let planned = &self.plan.stages()[at];
        let mut inputs = BTreeMap::new();
        for (input, root) in planned.inputs.iter().zip(&self.roots[at]) {
            let resolved = match &input.from {
                InputSource::File { path, kind } => {
                    let root = match root {
                        Some(Ok(root)) => root,
                        Some(Err(source)) => {
                            return Err(StageError::Input {
                                path: path.clone(),
                                span: input.span,
                                source: Arc::clone(source),
                            });
                        }
                        None => return Err(StageError::NoSuchInput { role: input.role.clone() }),
                    };
                    let path = self.spec_dir_joined(path);
                    ResolvedInput { path, digest: root.digest, kind: kind.or(implied_kind(input)) }
                }
                InputSource::Stage(stage) => {
                    let artifact = upstream(artifacts, *stage, &input.role)?;
                    let digest = match (input.accepts, requests[*stage]) {
                        (Accepts::PassedReport, Some(request)) => passed(&request),
                        _ => artifact.digest,
                    };
                    let path = self.store.object_path(&artifact.digest);
                    ResolvedInput { path, digest, kind: Some(artifact.kind) }
                }
                InputSource::StageFile { stage, path, kind } => {
                    let artifact = upstream(artifacts, *stage, &input.role)?;
                    let digest = part_of(&artifact, path).ok_or_else(|| {
                        let name = self.plan.stages()[*stage].name.as_str();
                        missing_part(&artifact, name, path, input)
                    })?;
                    let path = self.store.object_path(&artifact.digest).join(path);
                    ResolvedInput { path, digest, kind: kind.or(implied_kind(input)) }
                }
            };
            inputs.insert(input.role.clone(), resolved);
        }
        let fingerprint = Fingerprint {
            kind: planned.stage.kind().to_owned(),
            version: planned.stage.version(),
            settings: planned.stage.settings(),
            inputs: inputs.iter().map(|(role, input)| (role.clone(), input.digest)).collect(),
            tools: planned.stage.tools(&StageProbe { probe, inputs: &inputs })?,
        };
        let key = fingerprint.key();
        Ok(ResolvedStage { fingerprint, key, inputs })
    }

    /// Fails if a root file of the stage is no longer what was read for its key.
    pub fn recheck(&self, at: StageIndex) -> Result<(), StageError> {
        let planned = &self.plan.stages()[at];
        for (input, root) in planned.inputs.iter().zip(&self.roots[at]) {
            let (InputSource::File { path, .. }, Some(Ok(root))) = (&input.from, root) else {
                continue;
            };
            for stamp in &root.stamps {
                if !self.store.recheck(stamp)? {
                    return Err(StageError::InputChanged { path: path.clone(), span: input.span });
                }
            }
        }
        Ok(())
    }

    fn spec_dir_joined(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(self.plan.spec().folder()) {
            Ok(inside) => self.spec_dir.join(inside),
            Err(_) => self.spec_dir.join(path),
        }
    }
}

fn upstream(
    artifacts: &dyn Fn(StageIndex) -> Option<Artifact>,
    stage: StageIndex,
    role: &str,
) -> Result<Artifact, StageError> {
    artifacts(stage).ok_or_else(|| StageError::NoSuchInput { role: role.to_owned() })
}

/// Of a required report only "it passed" and what was asked of it count, never its timings.
fn passed(request: &Digest) -> Digest {
    let mut hasher = Hasher::new("passed");
    hasher.field(request.as_bytes());
    hasher.finish()
}

/// What a file is whose role leaves no choice.
fn implied_kind(input: &PlannedInput) -> Option<ArtifactKind> {
    match input.accepts {
        Accepts::Model | Accepts::SourceModel => Some(ArtifactKind::Model),
        Accepts::Engine => Some(ArtifactKind::Engine),
        _ => None,
    }
}

fn read_root(store: &Store, input: &PlannedInput) -> Option<ReadRoot> {
    let InputSource::File { path, kind } = &input.from else { return None };
    let is_model = kind.or(implied_kind(input)) == Some(ArtifactKind::Model);
    let read = || -> Result<RootInput, StoreError> {
        let stamp = store.hash_input(path)?;
        let mut root = RootInput { digest: stamp.digest, stamps: vec![stamp], missing: Vec::new() };
        if is_model && path.is_file() {
            add_external_data(store, path, &mut root)?;
        }
        Ok(root)
    };
    Some(read().map_err(Arc::new))
}

/// The weights of an ONNX file may be in files beside it; they are part of its content. Which
/// files that are follows from the model's bytes, so it is remembered by their digest.
fn add_external_data(store: &Store, model: &Path, root: &mut RootInput) -> Result<(), StoreError> {
    const MEMO: &str = "external-data";
    let remembered = store.memo_get(MEMO, &root.digest);
    let names: Vec<String> = match remembered.and_then(|value| serde_json::from_value(value).ok()) {
        Some(names) => names,
        None => match crate::onnx::external_files(model) {
            Ok(names) => {
                store.memo_put(MEMO, &root.digest, &serde_json::json!(names));
                names
            }
            // Not a model at all: the stage that reads it says so.
            Err(_) => return Ok(()),
        },
    };
    if names.is_empty() {
        return Ok(());
    }
    let folder = model.parent().unwrap_or(Path::new("."));
    let mut hasher = Hasher::new("model with external data");
    hasher.field(root.digest.as_bytes());
    for name in names {
        let path = folder.join(&name);
        hasher.field(name.as_bytes());
        if path.is_file() {
            let stamp = store.hash_input(&path)?;
            hasher.field(stamp.digest.as_bytes());
            root.stamps.push(stamp);
        } else {
            hasher.field(b"missing");
            root.missing.push(path);
        }
    }
    root.digest = hasher.finish();
    Ok(())
}

/// Digest of one file, or of everything under a folder, of an artifact.
fn part_of(artifact: &Artifact, path: &str) -> Option<Digest> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    if let Some(file) = artifact.files.iter().find(|file| file.path == path) {
        return Some(file.digest);
    }
    let prefix = format!("{path}/");
    let inside: Vec<FileEntry> = artifact
        .files
        .iter()
        .filter_map(|file| {
            let path = file.path.strip_prefix(&prefix)?.to_owned();
            Some(FileEntry { path, ..file.clone() })
        })
        .collect();
    (!inside.is_empty()).then(|| tree_digest(&inside))
}

fn missing_part(artifact: &Artifact, stage: &str, path: &str, input: &PlannedInput) -> StageError {
    let files = artifact.files.iter().map(|file| file.path.as_str());
    StageError::Setting {
        message: format!("the artifact of `{stage}` has no `{path}`"),
        span: input.span,
        help: Some(crate::suggest::did_you_mean(path, files, "its files")),
    }
}
