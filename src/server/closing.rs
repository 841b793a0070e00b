//! Closing the store after the loop has ended: the disk takes the remaining writes, however long that takes.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use super::limits::CLOSING_PATIENCE;
use super::narration;
use crate::storage::{StorageThread, StoreError};

/// Closes the store. If that takes long, logs what it waits for; otherwise an operator would see nothing
/// until losing patience and killing the node.
pub(super) fn close(storage: StorageThread) -> Result<(), StoreError> {
    let writes = storage.counts().waiting;
    let (closed, is_closed) = channel::<()>();
    let watch = move || {
        if is_closed.recv_timeout(CLOSING_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("{}", narration::closing_line(writes));
        }
    };
    thread::scope(|scope| {
        // If the system cannot start the thread, the store is closed all the same.
        let _watching = thread::Builder::new().name("closing".into()).spawn_scoped(scope, watch);
        let result = storage.shutdown();
        drop(closed);
        result
    })
}
