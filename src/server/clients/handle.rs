//! The name by which the node knows a client. Pure.

use crate::node::RequestId;

/// Names one connection for good: its key is reused, its generation is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientHandle {
    pub(crate) key: usize,
    pub(crate) generation: u32,
}

impl ClientHandle {
    /// The number by which the node knows the requests of this connection. All its requests share one number,
    /// because they are answered in order.
    pub(crate) fn request_id(self) -> RequestId {
        let key = u32::try_from(self.key);
        let key = key.expect("no table has 2^32 places: there are not as many descriptors");
        RequestId(u64::from(self.generation) << 32 | u64::from(key))
    }

    /// The connection that this request came from.
    pub(crate) fn of(request: RequestId) -> ClientHandle {
        let [generation, key] = [request.0 >> 32, request.0 & u64::from(u32::MAX)]
            .map(|half| u32::try_from(half).expect("either half of 64 bits fits 32"));
        ClientHandle { key: usize::try_from(key).expect("a key was a usize"), generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_names_one_connection_of_all_that_had_its_key() {
        for key in [0, 1, 9_999] {
            for generation in [0, 1, u32::MAX] {
                let handle = ClientHandle { key, generation };
                assert_eq!(ClientHandle::of(handle.request_id()), handle);
            }
        }
        let id = |key, generation| ClientHandle { key, generation }.request_id();
        assert_ne!(id(1, 0), id(0, 1));
    }
}
