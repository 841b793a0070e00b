//! The end of a store, after the loop's: the disk takes the writes that still wait, for however long.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use super::limits::CLOSING_PATIENCE;
use super::narrate;
use crate::storage::{StorageThread, StoreError};

/// Closes the store. Says what is waited for where that lasts: nothing else would, until whoever stopped the
/// node loses patience and kills it.
pub(super) fn close(storage: StorageThread) -> Result<(), StoreError> {
    let writes = storage.counts().waiting;
    let (closed, is_closed) = channel::<()>();
    let watch = move || {
        if is_closed.recv_timeout(CLOSING_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("{}", narrate::closing_line(writes));
        }
    };
    thread::scope(|scope| {
        // Where the system gives no thread, the store is closed all the same.
        let _watching = thread::Builder::new().name("closing".into()).spawn_scoped(scope, watch);
        let result = storage.shutdown();
        drop(closed);
        result
    })
}
