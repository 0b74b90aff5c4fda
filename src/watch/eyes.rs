//! [`Eyes`]: how changes come to be seen: by events of the system, or by looking.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::places::Places;
use super::poll::Poll;

/// How often files are looked at where there are no events.
const POLL: Duration = Duration::from_secs(1);

/// How changes come to be seen.
pub(super) enum Eyes {
    /// The system tells what happens in folders.
    Events(Box<Events>),
    /// The files are looked at from time to time.
    Poll(Poll),
}

pub(super) struct Events {
    system: RecommendedWatcher,
    places: Places,
    folders: BTreeSet<PathBuf>,
}

/// What the system tells.
pub(super) enum Seen {
    /// Something happened to these entries.
    At(Vec<PathBuf>),
    /// So much happened that it cannot say what.
    Anything,
}

impl Eyes {
    /// By events, which go to `seen`; by looking where that was asked for or is all there is.
    pub(super) fn open(poll: Option<Duration>, seen: impl Fn(Seen) + Send + 'static) -> Self {
        if let Some(interval) = poll {
            return Self::Poll(Poll::every(interval));
        }
        let handle = move |event: notify::Result<Event>| {
            if let Some(what) = what(event) {
                seen(what);
            }
        };
        match notify::recommended_watcher(handle) {
            Ok(system) => {
                let (places, folders) = (Places::default(), BTreeSet::new());
                Self::Events(Box::new(Events { system, places, folders }))
            }
            Err(error) => Self::instead_of_events(&error),
        }
    }

    fn instead_of_events(error: &notify::Error) -> Self {
        let limit = match &error.kind {
            ErrorKind::MaxFilesWatch => Some("fs.inotify.max_user_watches"),
            ErrorKind::Io(error) if error.raw_os_error() == Some(EMFILE) => {
                Some("fs.inotify.max_user_instances")
            }
            _ => None,
        };
        let why = match limit {
            Some(limit) => format!("{limit} is used up; raise it with `sysctl -w {limit}=..`"),
            None => error.to_string(),
        };
        tracing::warn!("files are looked at every second, the system tells no changes: {why}");
        Self::Poll(Poll::every(POLL))
    }

    /// Looks at these paths from now on, as they are now.
    pub(super) fn look_at(&mut self, paths: &BTreeSet<PathBuf>) {
        match self {
            Self::Poll(poll) => poll.look_at(paths),
            Self::Events(events) => {
                if let Err(error) = events.look_at(paths) {
                    *self = Self::instead_of_events(&error);
                    self.look_at(paths);
                }
            }
        }
    }

    /// Those of the watched paths that what was seen concerns.
    pub(super) fn concerned(&self, seen: Seen, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        match (self, seen) {
            (_, Seen::Anything) => paths.clone(),
            (Self::Events(events), Seen::At(entries)) => {
                entries.iter().flat_map(|entry| events.places.concerned(entry)).collect()
            }
            (Self::Poll(_), Seen::At(_)) => BTreeSet::new(),
        }
    }

    /// When to look next, where that has to be done.
    pub(super) fn next_look(&self) -> Option<Instant> {
        match self {
            Self::Events(_) => None,
            Self::Poll(poll) => poll.next_look(),
        }
    }

    /// Looks, if it is time to: the paths that are not as they were.
    pub(super) fn look(&mut self) -> BTreeSet<PathBuf> {
        match self {
            Self::Events(_) => BTreeSet::new(),
            Self::Poll(poll) => poll.look(),
        }
    }
}

impl Events {
    fn look_at(&mut self, paths: &BTreeSet<PathBuf>) -> notify::Result<()> {
        self.places = Places::of(paths);
        let folders = self.places.folders();
        for gone in self.folders.difference(&folders) {
            // The system has forgotten a folder that is no more.
            let _ = self.system.unwatch(gone);
        }
        for folder in &folders {
            // Also those that are watched already: another folder may have taken the place.
            match self.system.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_no_limit(&error) => {
                    tracing::debug!("{} is not watched: {error}", folder.display());
                }
                Err(error) => return Err(error),
            }
        }
        self.folders = folders;
        Ok(())
    }
}

/// Too many open files, in Linux's numbers.
const EMFILE: i32 = 24;

/// Whether one folder cannot be watched, rather than folders in general: it is gone, or another
/// user's.
fn is_no_limit(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
        ),
        _ => false,
    }
}

/// What an event says; nothing where files were only read.
fn what(event: notify::Result<Event>) -> Option<Seen> {
    match event {
        Ok(event) if event.need_rescan() => Some(Seen::Anything),
        Ok(Event { kind: EventKind::Access(kind), .. })
            if kind != AccessKind::Close(AccessMode::Write) =>
        {
            None
        }
        Ok(event) => Some(Seen::At(event.paths)),
        Err(error) => {
            tracing::debug!("an event of the file system was lost: {error}");
            Some(Seen::Anything)
        }
    }
}
