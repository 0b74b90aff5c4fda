//! [`Load`]: what a server has to do at one moment, counted where requests and connections come in.

use std::sync::Arc;

use super::Limits;
use super::connections::Connections;
use super::descriptors;
use super::error::Role;
use super::traffic::Traffic;

/// The requests and connections of one server.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Its requests.
    pub(super) traffic: Arc<Traffic>,
    /// The connections of each listener.
    pub(super) connections: Vec<(Role, Arc<Connections>)>,
}

impl Load {
    /// Room for what the limits say and the system allows.
    pub(super) fn new(limits: &Limits, roles: &[Role]) -> Self {
        let files = descriptors::allow_all();
        let inference = roles.iter().filter(|role| **role != Role::Admin).count();
        let connections = roles.iter().map(|&role| {
            let most = descriptors::share(role, limits.connections, inference, files);
            (role, Arc::new(Connections::new(most)))
        });
        Self {
            traffic: Arc::new(Traffic::new(limits.requests)),
            connections: connections.collect(),
        }
    }

    /// The connections of one listener.
    pub(super) fn of(&self, role: Role) -> Option<&Arc<Connections>> {
        self.connections.iter().find(|(of, _)| *of == role).map(|(_, connections)| connections)
    }
}
